"""The feature rows of a file, and those that are computed and in no table yet.

Whoever computes rows keeps them, by the hash of the content and the way in which they were made, until the table that they belong to is written:
`raw_audio` those of what it reads anyway, so that `features` need not read it again, and a run that is interrupted those
that it had. They are derived, as the tables are: what is lost is computed again, and what is there twice is the same.
"""

import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre_assets import keys
from genre_assets.audio.dsp.filters import Floats
from genre_assets.errors import DamagedObject
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore

AT_ONCE = 8  # parts that are read at once


@dataclass(frozen=True)
class Rows:
    """The rows of one file: segments as (index, start, seconds), and a feature row for each."""

    segments: tuple[tuple[int, float, float], ...]
    features: Floats


@dataclass(frozen=True)
class NoFeatures:
    """A file that decodes, but gives no features."""

    why: str


@dataclass(frozen=True)
class Made:
    """What computing the features of a content gave, from which file, and the seconds that it took."""

    fingerprint: str
    key: str
    outcome: Rows | NoFeatures
    seconds: float


class KeptRows:
    """Rows made by one `method` (feature set, version and cut), in parts, each of one label."""

    def __init__(self, store: ObjectStore, settings: Settings, method: str) -> None:
        self._store, self._bucket = store, settings.features_bucket
        self._set, self._method = settings.feature_set, method
        self._pending: dict[str, list[Made]] = {}
        self._parts: dict[str, list[str]] = {}

    def add(self, made: Made) -> None:
        """To be kept by the next `save`."""
        self._pending.setdefault(keys.label_of(made.key), []).append(made)

    def save(self) -> None:
        """Keep what was added since, a part for each label."""
        import pandas as pd

        for label, pending in self._pending.items():
            names = "\n".join([self._method, *(made.fingerprint for made in pending)])
            key = keys.kept_rows(self._set, label, hashlib.sha256(names.encode()).hexdigest()[:16])
            frame = pd.DataFrame([_as_row(made, self._method) for made in pending])
            self._store.write_parquet(self._bucket, key, frame)
            self._parts.setdefault(label, []).append(key)
            reached(Step.FEATURES_ROWS)
        self._pending = {}

    def read(self) -> list[Made]:
        """All that is kept and was made by the method. A part that is damaged holds nothing."""
        found = [entry.key for entry in self._store.list(self._bucket, keys.all_kept_rows(self._set))]
        for key in found:
            self._parts.setdefault(keys.genre_of(key) or "", []).append(key)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return [made for part in threads.map(self._read, found) for made in part]

    def _read(self, key: str) -> list[Made]:
        try:
            frame = self._store.read_parquet(self._bucket, key)
            return [_from_row(row) for row in frame.to_dict("records") if row["method"] == self._method]
        except (FileNotFoundError, DamagedObject, KeyError, ValueError):
            return []

    def forget(self, but_of: Collection[str]) -> None:
        """Remove the parts of all labels but these: the tables hold them, or they belong to no usable file."""
        self._pending = {}
        for label in [label for label in self._parts if label not in but_of]:
            for key in self._parts.pop(label):
                self._store.delete(self._bucket, key)
                reached(Step.FEATURES_FORGET)


def _as_row(made: Made, method: str) -> dict[str, object]:
    rows = made.outcome if isinstance(made.outcome, Rows) else Rows((), np.zeros((0, 0), np.float32))
    return {
        "method": method,
        "fingerprint": made.fingerprint,
        "key": made.key,
        "why": made.outcome.why if isinstance(made.outcome, NoFeatures) else "",
        "took_s": made.seconds,
        "segments": [float(value) for segment in rows.segments for value in segment],
        "features": rows.features.ravel(),
    }


def _from_row(row: dict[Any, Any]) -> Made:
    segments = np.asarray(row["segments"], np.float64).reshape(-1, 3).tolist()
    outcome: Rows | NoFeatures = NoFeatures(row["why"])
    if segments:
        values = np.asarray(row["features"], np.float32).reshape(len(segments), -1)
        outcome = Rows(tuple((int(index), start, seconds) for index, start, seconds in segments), values)
    return Made(row["fingerprint"], row["key"], outcome, float(row["took_s"]))
