"""How good a model is, and how sure we are: metrics of recordings with bootstrap intervals over groups. Pure functions.

Two names for two numbers, everywhere. `g_mean` is the geometric mean of the recalls of the genres: 0 as soon as one
genre is never recognised. `objective` is the same mean of smoothed recalls: models are tuned and compared by it, since
with few recordings a genre a G-mean of 0 is likely for any model, and then says nothing of which is the better one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 2000
LEVEL = 0.95
CELLS = 4_000_000
"""Draws times groups that are held at once."""
CALIBRATION_BINS = 10
PRIOR = 1.0
"""Recordings that the objective adds to each genre, answered as well as by guessing. Among hundreds they do not count."""


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Evaluation:
    """What a model does on one set of recordings. `recalls` has the labels that occur there, in label order."""

    recordings: int
    metrics: Mapping[str, Interval]
    recalls: Mapping[str, Interval]
    confusion: Ints = field(repr=False)

    @property
    def objective(self) -> Interval:
        """What models are compared by: the geometric mean of the smoothed recalls."""
        return self.metrics["objective"]

    @property
    def chance(self) -> float:
        """The balanced accuracy of a model that always gives the same answer."""
        return 1 / len(self.recalls)

    def in_short(self) -> dict[str, str]:
        """The objective with what must stand beside it."""
        return {name: str(self.metrics[name]) for name in ("objective", "g_mean", "balanced_accuracy")}


@dataclass(frozen=True)
class Recordings:
    """Song-level truth and answers: one row a recording (the mean of its segments' probabilities, as in serving)."""

    truth: Ints
    probabilities: Floats64
    groups: NDArray[np.str_]
    names: NDArray[np.str_]

    @property
    def predicted(self) -> Ints:
        """Index of the most probable label."""
        best: Ints = self.probabilities.argmax(axis=1)
        return best


def by_recording(
    truth: Ints, probabilities: NDArray[np.floating], groups: Sequence[str], recordings: Sequence[str]
) -> Recordings:
    """Rows of segments -> rows of recordings, ordered by recording."""
    names, first, inverse, counts = np.unique(
        np.asarray(recordings, dtype=str), return_index=True, return_inverse=True, return_counts=True
    )
    total = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(total, inverse, probabilities.astype(np.float64))
    return Recordings(truth[first], total / counts[:, None], np.asarray(groups, dtype=str)[first], names)


def g_mean(truth: Ints, predicted: Ints) -> float:
    """Geometric mean of the recalls of the classes in `truth`."""
    from imblearn.metrics import geometric_mean_score

    return float(geometric_mean_score(truth, predicted, labels=np.unique(truth), average="multiclass"))


def objective(truth: Ints, predicted: Ints, n_labels: int) -> float:
    """Geometric mean of the smoothed recalls of the classes in `truth`."""
    of_class = np.bincount(truth, minlength=n_labels)
    right = np.bincount(truth[predicted == truth], minlength=n_labels)
    present = of_class > 0
    return float(np.exp(np.log(_smoothed(right, of_class, n_labels)[present]).mean()))


def _smoothed(right: NDArray[Any], of_class: NDArray[Any], n_labels: int) -> Floats64:
    """Recalls as if each class had `PRIOR` recordings more, of which a guess gets its share right: never 0."""
    smoothed: Floats64 = (right + PRIOR / n_labels) / (of_class + PRIOR)
    return smoothed


def evaluate(songs: Recordings, labels: Sequence[str], *, seed: int = 0) -> Evaluation:
    """Every figure of the model card, with intervals over resampled groups."""
    point, figures = _resampled(songs, len(labels), seed)
    present = np.unique(songs.truth)
    return Evaluation(
        recordings=len(songs.truth),
        metrics={name: _interval(point[name][0], values) for name, values in figures.items() if name != "recall"},
        recalls={labels[k]: _interval(point["recall"][0, k], figures["recall"][:, k]) for k in present},
        confusion=confusion(songs.truth, songs.predicted, len(labels)),
    )


def paired_difference(candidate: Recordings, champion: Recordings, n_labels: int, *, seed: int = 0) -> Interval:
    """Objective of the candidate minus that of the champion on the same recordings, resampled together."""
    if not np.array_equal(candidate.names, champion.names):
        raise ValueError("both models must have answered for the same recordings")
    (point, resampled), (other_point, other) = (_resampled(s, n_labels, seed) for s in (candidate, champion))
    value = point["objective"][0] - other_point["objective"][0]
    return _interval(value, resampled["objective"] - other["objective"])


def confusion(truth: Ints, predicted: Ints, n_labels: int) -> Ints:
    """Counts [true label, predicted label]."""
    table = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(table, (truth, predicted), 1)
    return table


def calibration_bins(songs: Recordings) -> tuple[Floats64, Floats64, Ints]:
    """For a reliability diagram: mean confidence, accuracy and count of each bin that has recordings."""
    confidence = songs.probabilities.max(axis=1)
    which = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(which, minlength=CALIBRATION_BINS)
    used = counts > 0
    right = (songs.predicted == songs.truth).astype(float)
    mean = np.bincount(which, confidence, CALIBRATION_BINS)[used] / counts[used]
    return mean, np.bincount(which, right, CALIBRATION_BINS)[used] / counts[used], counts[used].astype(np.int64)


def _resampled(songs: Recordings, n_labels: int, seed: int) -> tuple[dict[str, Floats64], dict[str, Floats64]]:
    """Each metric of the recordings as they are [1, ...], and for each draw of groups with replacement [B, ...].

    The same groups and seed give the same draws, which is what pairs two models. Draws are made in blocks, so that
    memory does not grow with their number times the number of groups.
    """
    _, inverse = np.unique(songs.groups, return_inverse=True)
    unit, n = inverse.astype(np.int64), int(inverse.max()) + 1
    random = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES, CELLS // n))
    blocks = [
        _figures(songs, n_labels, random.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64), unit)
        for size in [block] * (RESAMPLES // block) + [RESAMPLES % block] * (RESAMPLES % block > 0)
    ]
    point = _figures(songs, n_labels, np.ones((1, n)), unit)
    return point, {name: np.concatenate([b[name] for b in blocks]) for name in point}


def _figures(songs: Recordings, n_labels: int, weights: Floats64, unit: Ints) -> dict[str, Floats64]:
    """Each metric for each row of group weights; a class that a resample has lost is left out of its means."""
    n_groups = weights.shape[1]
    right = (songs.predicted == songs.truth).astype(float)
    confidence = songs.probabilities.max(axis=1)

    def summed(values: Floats64, column: Ints, width: int) -> Floats64:
        table = np.zeros((n_groups, width))
        np.add.at(table, (unit, column), values)
        resampled: Floats64 = weights @ table
        return resampled

    one = np.zeros_like(songs.truth)
    size = summed(np.ones_like(right), one, 1)[:, 0]
    of_class = summed(np.ones_like(right), songs.truth, n_labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        hits, present = summed(right, songs.truth, n_labels), of_class > 0
        recall = hits / of_class
        logs = np.where(present, np.log(np.where(present, recall, 1)), 0)
        smoothed = np.where(present, np.log(_smoothed(hits, of_class, n_labels)), 0)
        of_truth = np.clip(songs.probabilities[np.arange(len(right)), songs.truth], 1e-12, 1)
        bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        gap = np.abs(summed(confidence - right, bins, CALIBRATION_BINS)).sum(axis=1)
        return {
            "objective": np.exp(smoothed.sum(axis=1) / present.sum(axis=1)),
            "g_mean": np.exp(logs.sum(axis=1) / present.sum(axis=1)),
            "accuracy": summed(right, one, 1)[:, 0] / size,
            "balanced_accuracy": np.where(present, recall, 0).sum(axis=1) / present.sum(axis=1),
            "log_loss": summed(-np.log(of_truth), one, 1)[:, 0] / size,
            "calibration_error": gap / size,
            "recall": recall,
        }


def _interval(value: float, resampled: Floats64) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))
