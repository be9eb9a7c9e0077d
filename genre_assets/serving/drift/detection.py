"""Is this window further from the reference than undrifted windows are? With a stated false-alarm rate.

Three questions of one window, each answered against the same resampled windows, so that their answers can be joined
into one p-value that keeps its promise:

- few features far away: the smallest false-discovery rate at which any feature is called drifted (Benjamini-Hochberg);
- many features a little away: the mean of the features' statistics;
- combinations of features away: Hotelling's T2 in the units of `mix.whitening`. Its covariance comes from all genres
  and not from the resampled windows, which would make it too flattering to themselves.

As many windows are resampled as the answer needs (`stages.py`).
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import BadInput
from genre_assets.serving.drift import mix, null, stages
from genre_assets.serving.drift.null import Baseline, Undrifted, Windows
from genre_assets.serving.drift.reference import Floats, rank_scores

SUSPICION = 5  # a p-value up to this many times the false-alarm rate is worth a word
QUESTIONS = ("features", "average", "multivariate")


class Level(StrEnum):
    """What a window says about one property."""

    OK = "ok"
    SUSPECTED = "suspected"
    DETECTED = "detected"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class FeatureShift:
    """One feature of a window. `shift` and `spread` are in standard errors; `q` is the false-discovery rate."""

    name: str
    q: float
    shift: float
    spread: float


@dataclass(frozen=True)
class FeatureDrift:
    """The verdict on a window's features.

    Attributes
    ----------
    p_value
        Share of undrifted windows that look at least as drifted, among as many as it took.
    questions
        The p-value of each of `QUESTIONS` by itself.
    features
        Every feature, the most drifted first.
    mix
        The window's genres by share.
    undrifted
        Resampled windows of the same mix, with which what the model answered can be compared.
    """

    level: Level
    p_value: float
    questions: dict[str, float]
    features: tuple[FeatureShift, ...]
    mix: dict[str, float]
    undrifted: Undrifted = field(repr=False, compare=False)

    def drifted(self, rate: float = 0.05) -> list[str]:
        """Names of the features called drifted at this false-discovery rate."""
        return [f.name for f in self.features if f.q <= rate]


def level(p_value: float, false_alarm_rate: float) -> Level:
    """A p-value's level: detected at the false-alarm rate, suspected up to `SUSPICION` times it."""
    if p_value <= false_alarm_rate:
        return Level.DETECTED
    return Level.SUSPECTED if p_value <= SUSPICION * false_alarm_rate else Level.OK


def feature_drift(base: Baseline, values: Floats, *, false_alarm_rate: float = 0.01, seed: int = 0) -> FeatureDrift:
    """Compare a window of items with the reference at the window's genre mix.

    Parameters
    ----------
    base
        The reference, from `null.baseline`.
    values
        One feature row for each distinct item, float32 [n, d], all finite.
    false_alarm_rate
        Share of undrifted windows that may be called drifted.
    seed
        Makes the verdict repeatable: give the window's identity.

    Raises
    ------
    BadInput
        When the window is empty, its columns are not the reference's, or too few resamples were drawn for the rate.
    """
    d = len(base.reference.columns)
    if values.ndim != 2 or not len(values) or values.shape[1] != d:
        raise BadInput(f"a window of shape {values.shape} cannot be compared with a reference of {d} features")
    if not np.isfinite(values).all():
        raise BadInput("a window's rows must be finite: leave the others out and count them as data quality")
    if (len(base.resampled_scores) + 1) * false_alarm_rate < 1:
        raise BadInput(f"{len(base.resampled_scores)} resamples cannot hold a false-alarm rate of {false_alarm_rate}")
    observed, shares = null.difference(base, rank_scores(base.reference, values))
    plausible = [null.Undrifted(base, candidate, len(values), seed) for candidate in mix.plausible(shares)]

    def compare(resamples: int) -> tuple[float, _Comparison]:
        compared = [_compare(base, observed, one.first(resamples), len(values)) for one in plausible]
        likeliest = max(compared, key=lambda c: c.p_value)
        return likeliest.p_value, likeliest

    _, found = stages.ask(compare, len(base.resampled_scores), SUSPICION * false_alarm_rate)
    squared = (found.z.reshape(2, d) ** 2).sum(axis=0)
    q = _discovery_rates(squared)
    order = np.argsort(-squared)
    return FeatureDrift(
        level=level(found.p_value, false_alarm_rate),
        p_value=found.p_value,
        questions=found.questions,
        features=tuple(
            FeatureShift(base.reference.columns[j], float(q[j]), float(found.z[j]), float(found.z[d + j]))
            for j in order
        ),
        mix={base.reference.labels[g]: round(float(s), 4) for g, s in zip(base.reference.genres, shares, strict=True)},
        undrifted=plausible[0],
    )


@dataclass(frozen=True)
class _Comparison:
    """A window against one set of undrifted ones; `z` are its differences in standard errors, [2d]."""

    p_value: float
    questions: dict[str, float]
    z: NDArray[np.float64]


def _compare(base: Baseline, observed: Floats, undrifted: Windows, items: int) -> _Comparison:
    """Ask the three questions of the real window and of every undrifted one, and join the answers."""
    d = len(base.reference.columns)
    centred = np.vstack([observed, undrifted.differences]) - undrifted.differences.mean(axis=0)
    z = centred / _errors(undrifted.differences, items, base)
    squared = z[:, :d] ** 2 + z[:, d:] ** 2
    extremes = np.stack(
        [
            _surprise(squared),
            squared.mean(axis=1),
            ((centred @ base.whitener) ** 2).sum(axis=1),
        ]
    )
    single = _tail_shares(extremes)  # [3, 1 + resamples]
    p_value = float(_tail_shares(-single.min(axis=0)[None])[0, 0])
    questions = {name: float(p) for name, p in zip(QUESTIONS, single[:, 0], strict=True)}
    return _Comparison(p_value, questions, z[0])


def _errors(undrifted: Floats, items: int, base: Baseline) -> NDArray[np.float64]:
    """Standard error of each score's difference among undrifted windows, [2d].

    A feature that never varies in the reference gets the variance of an event not seen in that many rows (about one
    in rows + 1), so that a change of it counts but no rounding error does.
    """
    unseen = (1 / items + 1 / base.reference.recordings) / (len(base.row_scores) + 1)
    error: NDArray[np.float64] = np.sqrt(np.maximum(undrifted.var(axis=0, dtype=np.float64), unseen))
    return error


def _discovery_rates(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg q-values of statistics that are chi-squared with two degrees of freedom, [d] -> [d].

    The tail of that distribution is exp(-x / 2).
    """
    d = len(squared)
    order = np.argsort(-squared)
    rates = np.exp(-squared[order] / 2) * d / np.arange(1, d + 1)
    found = np.empty(d)
    found[order] = np.minimum(np.minimum.accumulate(rates[::-1])[::-1], 1.0)
    return found


def _surprise(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the logarithm of each window's smallest q-value, [windows, d] -> [windows]; by logarithms, so never infinite."""
    d = squared.shape[1]
    descending = -np.sort(-squared, axis=1)
    surprise: NDArray[np.float64] = (descending / 2 - np.log(d / np.arange(1, d + 1))).max(axis=1)
    return surprise


def _tail_shares(extremes: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each entry the share of its row's entries that are at least as large (itself included), same shape."""
    n = extremes.shape[1]
    shares = np.empty(extremes.shape)
    for row, values in enumerate(extremes):
        shares[row] = (n - np.sort(values).searchsorted(values, "left")) / n
    return shares
