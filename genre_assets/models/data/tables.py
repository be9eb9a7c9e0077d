"""Ready feature tables, the third way in: Parquet or CSV files instead of audio.

A table has a column `genre` and the columns of the configured feature set, and may have key (or track_id), recording,
group (or artist), fingerprint, segment and split. Without a recording each row is its own. The setting
`GENRE_FEATURE_TABLES` names the files, separated by commas; `validation=FILE` puts all rows of a file into one split.
"""

import difflib
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genre_assets.errors import BadInput
from genre_assets.labels import RULE, LabelSet, name_for
from genre_assets.models.data.split import SPLITS
from genre_assets.store import ObjectStore, parquet_frame, parse_uri
from genre_assets.text import visible

if TYPE_CHECKING:
    import pandas as pd

ALIASES = {"track_id": "key", "artist": "group"}
KNOWN = ("key", "recording", "fingerprint", "genre", "group", "segment", "split", "start_s", "seconds")


def read_tables(locations: str, columns: Sequence[str], labels: LabelSet | None, store: ObjectStore) -> "pd.DataFrame":
    """The rows of all tables, as `training.build` takes them.

    Parameters
    ----------
    locations : `[split=]path` or `[split=]s3://bucket/key`, separated by commas.
    columns : the feature columns that each table must have, and no others beside the known ones.
    labels : the label set; None while it is open, and any label is one.

    Raises `BadInput` for a file that is missing or unreadable, missing or extra columns, unknown genres or splits,
    values that are not finite.
    """
    frames = []
    for location in filter(None, (part.strip() for part in locations.split(","))):
        split, _, address = location.rpartition("=") if location.split("=")[0] in SPLITS else ("", "", location)
        frames.append((split, normalised(_load(address, store), columns, labels, name=address)))
    if not frames:
        raise BadInput("GENRE_FEATURE_TABLES names no table")
    return joined(frames)


def read_file(file: Path, columns: Sequence[str], labels: LabelSet | None) -> "pd.DataFrame":
    """The rows of one local file; see `read_tables` for what is refused."""
    return normalised(_parsed(_bytes_of(file), str(file)), columns, labels, name=str(file))


def joined(frames: "Iterable[tuple[str, pd.DataFrame]]") -> "pd.DataFrame":
    """The rows of all tables, each with the split that it is for; "" leaves its own. Raises `BadInput` if some have none."""
    import pandas as pd

    split_up = [frame.assign(split=split) if split else frame for split, frame in frames]
    with_split = ["split" in frame for frame in split_up]
    if any(with_split) != all(with_split):
        raise BadInput(
            "either every feature table has a split (GENRE_FEATURE_TABLES: train=FILE,validation=FILE) or none"
        )
    return pd.concat(split_up, ignore_index=True)


def normalised(table: "pd.DataFrame", columns: Sequence[str], labels: LabelSet | None, *, name: str) -> "pd.DataFrame":
    """The table with the platform's column names, types and identities; see `read_tables` for what is refused."""
    frame = table.rename(columns={old: new for old, new in ALIASES.items() if old in table and new not in table})
    _check(frame, columns, labels, name)
    features = frame[list(columns)].astype(np.float32)
    identity = frame[[c for c in KNOWN if c in frame]].copy()
    identity["genre"] = [_label(str(genre), labels) for genre in frame["genre"]]
    if "key" not in identity:
        identity["key"] = [f"{Path(name).name}#{i}" for i in range(len(frame))]
    if "fingerprint" not in identity:
        identity["fingerprint"] = [hashlib.sha256(row.tobytes()).hexdigest() for row in features.to_numpy()]
    if "segment" not in identity:
        identity["segment"] = 0
    if "recording" not in identity:
        identity["recording"] = identity["key"].astype(str)
    if "group" in identity:
        identity["group"] = identity["group"].where(identity["group"].notna(), identity["recording"]).astype(str)
    return identity.join(features)


def _check(frame: "pd.DataFrame", columns: Sequence[str], labels: LabelSet | None, name: str) -> None:
    if "genre" not in frame:
        raise BadInput(f"{name}: there is no column genre")
    missing = [c for c in columns if c not in frame]
    extra = [c for c in frame if c not in columns and c not in KNOWN]
    if missing or extra:
        said = [
            f"{len(found)} {what} columns ({', '.join(map(str, found[:6]))})"
            for what, found in (("missing", missing), ("extra", extra))
            if found
        ]
        raise BadInput(
            f"{name}: {' and '.join(said)}.{_meant(missing, extra)} A table has the columns of the feature set (GENRE_FEATURE_SET) and, beside "
            f"genre, only {', '.join(KNOWN)}, track_id, artist."
        )
    unknown = sorted(genre for genre in set(frame["genre"].astype(str)) if _label(genre, labels) is None)
    if unknown:
        named = ", ".join(map(visible, unknown[:6]))
        if labels is None:
            raise BadInput(f"{name}: {named} cannot name a label: {RULE}")
        raise BadInput(f"{name}: unknown genres {named}; known are {', '.join(labels.names)}")
    if "split" in frame and (bad := sorted(set(frame["split"].astype(str)) - set(SPLITS))):
        raise BadInput(f"{name}: unknown splits {', '.join(bad[:6])}; known are {', '.join(SPLITS)}")
    numbers = [c for c in columns if frame[c].dtype.kind not in "fiu"]
    if numbers:
        raise BadInput(f"{name}: columns that do not hold numbers: {', '.join(numbers[:6])}")
    values = frame[list(columns)].to_numpy(float, na_value=np.nan)
    broken = ~np.isfinite(values) | (np.abs(values) > np.finfo(np.float32).max)
    if broken.any():
        row, column = np.argwhere(broken)[0]
        raise BadInput(
            f"{name}, row {row + 1}, column {columns[column]}: {values[row, column]:g} is no finite number of float32 "
            f"(NaN or infinite values, or beyond 3.4e38); {broken.sum()} values are so, in {broken.any(axis=0).sum()} columns"
        )


def _meant(missing: Sequence[str], extra: Sequence[object]) -> str:
    """Which of the extra columns may be a missing one in another spelling."""
    pairs = ((name, difflib.get_close_matches(name, map(str, extra), n=1)) for name in missing)
    found = [f"{visible(near[0])} for {name}" for name, near in pairs if near][:3]
    return f" Perhaps {', '.join(found)}?" if found else ""


def _label(genre: str, labels: LabelSet | None) -> str | None:
    return name_for(genre) if labels is None else labels.find(genre)


def _load(address: str, store: ObjectStore) -> "pd.DataFrame":
    if not address.startswith("s3://"):
        return _parsed(_bytes_of(Path(address)), address)
    try:
        data = store.get_bytes(*parse_uri(address))
    except OSError as error:
        raise BadInput(f"the feature table {address} cannot be read: {error}") from error
    return _parsed(data, address)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"the feature table {file} cannot be read: {error}") from error


def _parsed(data: bytes, address: str) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_csv(io.BytesIO(data)) if address.endswith(".csv") else parquet_frame(data)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise BadInput(f"the feature table {address} is neither Parquet nor CSV: {error}") from error
