"""The feature tables: a row for each segment of each usable file, one Parquet file for each genre.

Content-addressed: a row belongs to the bytes of its file and the version of its feature set. What was computed once, under
whatever key or genre, is not computed again; a file that is gone, renamed or no longer usable only changes which rows are
written.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets import keys
from genre_assets.audio.extract import FeatureSet, feature_set_named
from genre_assets.audio.tables import parts
from genre_assets.audio.tables.rows import Rows
from genre_assets.errors import DamagedObject
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

    from genre_assets.audio.dsp.filters import Floats

IDENTITY: dict[str, str] = {
    "key": "str",
    "fingerprint": "str",
    "recording": "str",
    "genre": "str",
    "segment": "int32",
    "start_s": "float32",
    "seconds": "float32",
}


@dataclass(frozen=True)
class Manifest:
    """What a genre's feature table was made with, and from which files."""

    feature_set: str
    feature_set_version: str
    columns: tuple[str, ...]
    cut: str  # how clips were cut into segments
    genre: str
    files: int
    rows: int
    content: str  # digest of the files that it was made from; "" if some of them were gone or overwritten meanwhile
    left_out: dict[str, str]  # fingerprint of files that gave no features -> why
    gone: dict[str, str] = field(default_factory=dict)  # key -> what happened to the file since it was inventoried
    parts: dict[str, str] = field(default_factory=dict)  # of a large table, as `parts.of` names them


def read(store: ObjectStore, settings: Settings, genre: str) -> "pd.DataFrame":
    """The stored features of a genre. Raises `FileNotFoundError` if there are none yet."""
    key = keys.features(settings.feature_set, genre)

    def named() -> parts.Parts:
        manifest = read_manifest(store, settings, genre)
        return manifest.parts if manifest is not None else {}

    return parts.as_named(
        named, lambda these: parts.read(store, settings.features_bucket, key, these, ["key", "segment"])
    )


def read_manifest(store: ObjectStore, settings: Settings, genre: str) -> Manifest | None:
    """The manifest of a genre's features; None if there is none, or none that is whole."""
    try:
        stored = store.read_json(settings.features_bucket, keys.features_manifest(settings.feature_set, genre))
        return Manifest(**{**stored, "columns": tuple(stored["columns"])})
    except (FileNotFoundError, DamagedObject, TypeError, KeyError):  # a genre without one is due, which mends it
        return None


def stored_genres(store: ObjectStore, settings: Settings) -> list[str]:
    """The genres that have a table of the configured feature set, those of labels that are gone among them."""
    below = keys.features_of(settings.feature_set)
    found = (keys.genre_of(entry.key) for entry in store.list(settings.features_bucket, below))
    return sorted({genre for genre in found if genre is not None})


def is_up_to_date(store: ObjectStore, settings: Settings, genre: str, content: str) -> bool:
    """Whether the stored features are those of the usable files `content`, made as they would be made now."""
    stored = read_manifest(store, settings, genre)
    return stored is not None and stored.content == content and same_method(settings, stored)


def empty_table(features: FeatureSet) -> "pd.DataFrame":
    """No row, but every column with its type."""
    import pandas as pd

    types = {**IDENTITY, **dict.fromkeys(features.columns, "float32")}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def cut(settings: Settings) -> str:
    """How a clip becomes segments: rows that were cut in another way are not reused."""
    return f"{settings.max_seconds:g} s from the {settings.offset}, by {settings.segment_seconds:g} s"


def method(settings: Settings) -> str:
    """How rows are made under these settings, in words that change when the rows do."""
    return f"{settings.feature_set} {feature_set_named(settings.feature_set).version}, {cut(settings)}"


def manifest_for(
    settings: Settings,
    genre: str,
    files: "pd.DataFrame",
    table: "pd.DataFrame",
    left_out: dict[str, str],
    gone: dict[str, str],
    content: str,
) -> Manifest:
    """The manifest of `table`, made from the usable `files` of a genre, whose digest is `content`."""
    features = feature_set_named(settings.feature_set)
    mine = {fingerprint: left_out[fingerprint] for fingerprint in files["fingerprint"] if fingerprint in left_out}
    complete = set(files["fingerprint"]) == set(table["fingerprint"]) | set(mine)
    return Manifest(
        feature_set=features.name,
        feature_set_version=features.version,
        columns=features.columns,
        cut=cut(settings),
        genre=genre,
        files=len(files),
        rows=len(table),
        content=content if complete else "",
        left_out=mine,
        gone={key: gone[key] for key in files["key"] if key in gone},
        parts=parts.of(table, len(files), ("key", "fingerprint", "recording", "segment"), method(settings)),
    )


def same_method(settings: Settings, stored: Manifest) -> bool:
    """Whether rows made under this manifest are rows as they would be made now."""
    features = feature_set_named(settings.feature_set)
    return (stored.feature_set, stored.feature_set_version, stored.columns, stored.cut) == (
        features.name,
        features.version,
        features.columns,
        cut(settings),
    )


def rows_of(table: "pd.DataFrame", columns: Sequence[str]) -> dict[str, Rows]:
    """The rows of a stored table by the fingerprint of their file."""
    values = table[list(columns)].to_numpy(np.float32)
    places = table[["segment", "start_s", "seconds"]].to_numpy(np.float64)
    rows = {}
    for fingerprint, positions in table.groupby("fingerprint").indices.items():
        segments = tuple((int(index), start, seconds) for index, start, seconds in places[positions].tolist())
        rows[str(fingerprint)] = Rows(segments, values[positions])
    return rows


def compose(files: "pd.DataFrame", genre: str, features: FeatureSet, known: dict[str, Rows]) -> "pd.DataFrame":
    """The genre's table from the rows of its files; files without rows (deleted or overwritten meanwhile) are left out."""
    import pandas as pd

    identity: list[dict[str, Any]] = []
    values: list[Floats] = []
    for file in files.to_dict("records"):
        rows = known.get(file["fingerprint"])
        if rows is None:
            continue
        values.append(rows.features)
        identity += [
            {**{name: file.get(name, genre) for name in ("key", "fingerprint", "recording", "genre")},
             "segment": index, "start_s": start, "seconds": seconds}
            for index, start, seconds in rows.segments
        ]  # fmt: skip
    if not values:
        return empty_table(features)
    frame = pd.DataFrame(np.concatenate(values), columns=list(features.columns), dtype=np.float32)
    return pd.concat([pd.DataFrame(identity).astype(IDENTITY), frame], axis=1)


def write(store: ObjectStore, settings: Settings, manifest: Manifest, table: "pd.DataFrame") -> None:
    """Write a genre's table; the manifest last, so that it never claims what is not there."""
    key = keys.features(manifest.feature_set, manifest.genre)
    parts.write(store, settings.features_bucket, key, table, manifest.parts)
    reached(Step.FEATURES_TABLE)
    store.write_json(
        settings.features_bucket, keys.features_manifest(manifest.feature_set, manifest.genre), asdict(manifest)
    )
    reached(Step.FEATURES_MANIFEST)


def sweep(store: ObjectStore, settings: Settings, manifest: Manifest) -> None:
    """Remove what a genre's table had before this manifest was written, also if the run that wrote it was killed then."""
    key = keys.features(manifest.feature_set, manifest.genre)
    parts.sweep(store, settings.features_bucket, key, manifest.parts)
