"""Why an answer is as it is, for a person: how usual the sound is, the training clips nearest to it, the features that spoke most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.inference import request_log
from genre_assets.serving.drift import null, reference
from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.reference import Floats
from genre_assets.serving.drift.shadow import IdleModels
from genre_assets.serving.feedback import selection
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

NEAREST, SPOKEN = 5, 5
MIDDLE = (0.1, 0.9)  # quantiles of the training data between which a value is usual


@dataclass(frozen=True)
class Neighbour:
    """A training clip. `distance` is in units of the training data's spread; `address` is empty if the clip is not there."""

    label: str
    key: str
    address: str
    distance: float


@dataclass(frozen=True)
class Spoken:
    """A feature without which the model would be less sure: by `share`, if it had the training data's median instead.

    `usual` is where eight of ten training rows lie.
    """

    feature: str
    value: float
    usual: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Explanation:
    """Of one answered item. What cannot be told is None, and `unknown` says why.

    `usual` is the share of training rows that lie at least as far from the nearest label's middle as the item does: near 0, it is
    like nothing that the model was trained on.
    """

    request_id: str
    item: int
    label: str
    usual: float | None
    neighbours: Sequence[Neighbour] | None
    features: Sequence[Spoken] | None
    unknown: str = ""


def explain(database: Database, store: ObjectStore, settings: Settings, request_id: str, item: int = 0) -> Explanation:
    """Explain an answer that is in the log.

    Raises
    ------
    FileNotFoundError
        If no such row is in the log (yet).
    BadInput
        If the item was answered with an error.
    """
    row = next((row for row in request_log.of_request(database, request_id) if row["item"] == item), None)
    if row is None:
        raise FileNotFoundError(f"no row of the request {request_id[:200]!r}, item {item}, is in the log (yet)")
    if row["error_code"]:
        raise BadInput(f"the item was answered with an error ({row['error_code']}): there is nothing to explain")
    label = str(row["label"])
    try:
        frame = store.read_parquet(settings.serving_bucket, keys.reference(int(row["version"])))
        base = null.baseline(reference.from_frame(frame), resamples=1)
        values = _values(base, row["features"])
    except (FileNotFoundError, BadInput) as error:
        return Explanation(
            request_id, item, label, None, None, None, f"the training rows cannot be compared with: {error}"
        )
    own = selection.strangeness(base, base.reference.values)
    usual = float((own >= selection.strangeness(base, values)[0]).mean())
    spoken, unknown = _spoken(IdleModels(store, settings), base, values, row)
    return Explanation(
        request_id, item, label, round(usual, 4), _nearest(base, frame, values, store, settings), spoken, unknown
    )


def _values(base: Baseline, features: Sequence[float]) -> Floats:
    """The item's features as one row, float32 [1, d]. Raises `BadInput` if they are not the reference's."""
    if len(features) != len(base.reference.columns):
        raise BadInput(f"the item has {len(features)} features, the training rows {len(base.reference.columns)}")
    return np.array([features], np.float32)


def _nearest(
    base: Baseline, frame: "pd.DataFrame", values: Floats, store: ObjectStore, settings: Settings
) -> list[Neighbour] | None:
    """The recordings of which a segment is nearest, the nearest first; None where the table does not name their files."""
    if "key" not in frame:
        return None
    columns = list(base.reference.columns)
    distances = np.linalg.norm(
        selection.positions(base, frame[columns].to_numpy(np.float32)) - selection.positions(base, values), axis=1
    )
    rows = frame[["genre", "key", "recording"]].assign(distance=distances).dropna(subset=["distance"])
    nearest = rows.sort_values("distance", kind="stable").drop_duplicates("recording").head(NEAREST)
    return [
        Neighbour(row["genre"], row["key"], _address(store, settings, row["key"]), round(float(row["distance"]), 3))
        for row in nearest.to_dict("records")
    ]


def _address(store: ObjectStore, settings: Settings, key: str) -> str:
    try:
        return f"s3://{settings.raw_bucket}/{key}" if store.exists(settings.raw_bucket, key) else ""
    except GenreError:
        return ""


def _spoken(models: IdleModels, base: Baseline, values: Floats, row: dict[str, Any]) -> tuple[list[Spoken] | None, str]:
    """The features whose place the training data's median cannot take; None and why, if the model cannot be asked any more."""
    known, columns = base.reference.values, base.reference.columns
    replaced = np.repeat(values, 1 + len(columns), axis=0)
    replaced[np.arange(1, len(replaced)), np.arange(len(columns))] = np.median(known, axis=0)
    try:
        place = models.labels().index(str(row["label"]))
        sure = models.probabilities(int(row["version"]), replaced)[:, place]
    except (GenreError, FileNotFoundError, ValueError) as error:
        return None, f"the model that answered cannot be asked any more: {error}"
    low, high = np.quantile(known, MIDDLE, axis=0)
    shares = sure[0] - sure[1:]
    best = [int(i) for i in np.argsort(-shares, kind="stable")[:SPOKEN] if shares[i] > 0]
    return [
        Spoken(columns[i], float(values[0, i]), (float(low[i]), float(high[i])), round(float(shares[i]), 4))
        for i in best
    ], ""
