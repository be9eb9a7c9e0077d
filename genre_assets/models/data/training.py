"""The training set: rows of segments with their genre, group and split, and a manifest that names its content.

Pure functions over DataFrames; `models/data/training_store.py` reads and writes them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.splits import check_groups
from genre_assets.errors import BadInput
from genre_assets.models.data import split as splitting

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("key", "fingerprint", "recording", "genre", "group", "segment", "split")


@dataclass(frozen=True)
class Manifest:
    """What a training set is. `version` is a hash of the content: the same rows, splits and columns, the same version.

    `genres` are the classes, in the order of the probabilities of every model that is made from it.
    """

    version: str
    feature_set: str
    feature_set_version: str
    columns: tuple[str, ...]
    genres: tuple[str, ...]
    rows: int
    recordings: int
    groups: int
    splits: Mapping[str, int]
    cut: Cut
    merged: int = 0
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Manifest":
        """The inverse of `to_json`. Raises `BadInput` for a manifest of before it said how clips were cut."""
        if "cut" not in values:
            raise BadInput("the training set does not say how its clips were cut; materialise training_set again")
        parsed = {name: tuple(values[name]) for name in ("columns", "genres")}
        return cls(**{**values, **parsed, "cut": Cut(**values["cut"])})


@dataclass(frozen=True)
class TrainingSet:
    """Rows and manifest. `part(split)` gives what a model needs of one split."""

    frame: "pd.DataFrame"
    manifest: Manifest

    def part(self, *splits: str) -> "Part":
        """The rows of these splits as arrays."""
        rows = self.frame[self.frame["split"].isin(splits)]
        return Part(
            features=rows[list(self.manifest.columns)].to_numpy(np.float32),
            labels=self.index(rows["genre"]),
            groups=rows["group"].to_numpy(str),
            recordings=rows["recording"].to_numpy(str),
            classes=len(self.manifest.genres),
        )

    def index(self, genres: Iterable[str]) -> NDArray[np.int64]:
        """Each genre's place in the manifest's `genres`, [n]."""
        return np.array([self.manifest.genres.index(genre) for genre in genres], dtype=np.int64)


@dataclass(frozen=True)
class Part:
    """Some rows as arrays: features float32 [n, d], labels int64 [n], groups, recordings [n].

    A label is an index into the `genres` of the training set's manifest; `classes` is how many those are.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    recordings: NDArray[np.str_]
    classes: int

    def take(self, rows: NDArray[Any]) -> "Part":
        """These rows (indices or a mask)."""
        return Part(self.features[rows], self.labels[rows], self.groups[rows], self.recordings[rows], self.classes)

    def __len__(self) -> int:
        return len(self.labels)


def build(
    rows: "pd.DataFrame",
    columns: Sequence[str],
    *,
    feature_set: str,
    feature_set_version: str,
    cut: Cut,
    labels: Sequence[str],
    groups: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
    min_clips: int = 3,
) -> TrainingSet:
    """Group, split and name the rows.

    Parameters
    ----------
    rows : one row a segment: key, fingerprint, recording, genre, segment and the columns; with `split` (and `group`)
        when the table comes with its own, which is then kept.
    cut : how the clips were cut into rows.
    labels : the names of the label set, in order. Those without a row are no class of the models.
    groups : key -> group (artist, album), where known; a recording without one is its own group.
    splits : key -> split, where somebody stated one; the others' follow from their groups. Not for rows with `split`.
    min_clips : the fewest recordings that a genre may have.

    Raises `BadInput` for a table from which no model can be learned; the message says what to do.
    """
    _check(rows, columns, labels, min_clips)
    frame = rows.copy()
    if "group" not in frame:
        known = frame["key"].map(dict(groups or {}))
        frame["group"] = known.where(known.notna(), frame["recording"])
    frame["group"] = _one_group_a_recording(frame)
    pairs = splitting.near_duplicates(frame[list(columns)].to_numpy(np.float32))
    before, dropped = frame["group"].nunique(), 0
    if "split" in frame:
        frame["group"] = splitting.merge_groups(frame["group"].tolist(), _within_splits(frame, pairs))
        merged = before - frame["group"].nunique()
        frame, dropped = _drop_copies_of_held_out(frame, pairs)
    else:
        stated = frame["key"].map(dict(splits or {})).fillna("").tolist()
        group_of = dict(zip(frame["key"], frame["group"], strict=True))
        check_groups(group_of, {key: split for key, split in (splits or {}).items() if key in group_of})
        frame["group"] = splitting.merge_groups(frame["group"].tolist(), pairs)
        merged = before - frame["group"].nunique()
        frame["split"] = splitting.assign_splits(frame["group"].tolist(), frame["genre"].tolist(), stated)
    frame = frame[[*IDENTITY, *columns]].astype(dict.fromkeys(columns, np.float32))
    frame = frame.sort_values(["genre", "key", "segment"], ignore_index=True)
    manifest = Manifest(
        version=content_hash(frame, feature_set, feature_set_version, cut),
        feature_set=feature_set,
        feature_set_version=feature_set_version,
        columns=tuple(columns),
        genres=tuple(label for label in labels if label in set(frame["genre"])),
        rows=len(frame),
        recordings=frame["recording"].nunique(),
        groups=frame["group"].nunique(),
        splits={s: int((frame["split"] == s).sum()) for s in splitting.SPLITS},
        cut=cut,
        merged=int(merged),
        dropped=dropped,
    )
    return TrainingSet(frame, manifest)


def recordings_by_genre(training: TrainingSet) -> dict[str, dict[str, int]]:
    """How many recordings: split -> genre -> count."""
    songs = training.frame.drop_duplicates(["split", "genre", "recording"])
    table = {}
    for split in splitting.SPLITS:
        genres = songs.loc[songs["split"] == split, "genre"].tolist()
        if genres:
            table[split] = {genre: genres.count(genre) for genre in sorted(set(genres))}
    return table


def _check(rows: "pd.DataFrame", columns: Sequence[str], labels: Sequence[str], min_clips: int) -> None:
    missing = [c for c in columns if c not in rows]
    if missing:
        raise BadInput(f"the feature table lacks {len(missing)} columns: {', '.join(missing[:8])}")
    unknown = sorted(set(rows["genre"]) - set(labels))
    if unknown:
        raise BadInput(f"unknown genres in the feature table: {', '.join(unknown)}; known are {', '.join(labels)}")
    counts = rows.groupby("genre")["recording"].nunique()
    if len(counts) < 2:
        only = f"only {counts.index[0]} is there" if len(counts) else "the table is empty"
        raise BadInput(f"a classifier needs clips of at least two genres; {only}. Add clips of another genre.")
    few = counts[counts < min_clips]
    if len(few):
        listed = ", ".join(f"{genre} has {n}" for genre, n in few.items())
        raise BadInput(
            f"too few usable clips: {listed}, and every genre needs {min_clips} (GENRE_MIN_CLIPS_PER_GENRE). Add clips "
            "of that genre, or take its folder away."
        )
    values = rows[list(columns)].to_numpy(np.float64)
    broken = ~np.isfinite(values).all(axis=0)
    if broken.any():
        names = [c for c, bad in zip(columns, broken, strict=True) if bad]
        raise BadInput(f"{len(names)} columns hold values that are not finite: {', '.join(names[:8])}")


def _one_group_a_recording(frame: "pd.DataFrame") -> "pd.Series[str]":
    """The same recording under two keys belongs to one group: the first in order."""
    return frame.groupby("recording")["group"].transform("min").astype(str)


def _within_splits(frame: "pd.DataFrame", pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    split = frame["split"].tolist()
    return [(i, j) for i, j in pairs if split[i] == split[j]]


def _drop_copies_of_held_out(frame: "pd.DataFrame", pairs: Sequence[tuple[int, int]]) -> "tuple[pd.DataFrame, int]":
    """With given splits nothing moves: of two equal rows in two splits, the one nearer to training is left out."""
    rank = [splitting.SPLITS.index(s) for s in frame["split"]]
    losers = {i if rank[i] < rank[j] else j for i, j in pairs if rank[i] != rank[j]}
    keep = [i not in losers for i in range(len(frame))]
    return frame[keep].reset_index(drop=True), len(losers)


def content_hash(frame: "pd.DataFrame", feature_set: str, feature_set_version: str, cut: Cut) -> str:
    """The version of a training set with this content: 16 hexadecimal digits."""
    import pandas as pd

    digest = hashlib.sha256(repr((feature_set, feature_set_version, str(cut), list(frame.columns))).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
