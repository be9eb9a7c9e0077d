"""What the model answered: the mix of its labels, its confidence, and what its accuracy is likely to be.

Each is compared with the model's own out-of-fold answers on its training rows, at the window's genre mix and over the
same resampled windows as the features, so that an album of a hard genre is neither a changed mix nor low confidence.
An item of several segments has averaged probabilities, which are less extreme than a row's; whoever asks is not known,
so a window must stray from both kinds of resampled windows, of single rows and of averaged recordings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.serving.drift import stages
from genre_assets.serving.drift.detection import SUSPICION, Level, level
from genre_assets.serving.drift.findings import Finding
from genre_assets.serving.drift.null import Undrifted, Windows
from genre_assets.serving.drift.reference import Floats, Reference

NOTABLE = 0.05  # a mean confidence that is higher by less is nothing to tell anybody of
LOSS = 0.05  # accuracy may be this much below the training data's before anybody is told


@dataclass(frozen=True)
class Estimate:
    """An accuracy with the interval in which the window's true accuracy lies in 95 of 100 cases."""

    value: float
    low: float
    high: float


def averaged(reference: Reference) -> Floats:
    """Each row's recording's mean out-of-fold probabilities, float32 [rows, c]: as an item of all segments gets."""
    sums = np.zeros((reference.recordings, len(reference.labels)), np.float32)
    np.add.at(sums, reference.recording, reference.probabilities)
    means = sums / np.bincount(reference.recording).astype(np.float32)[:, None]
    return means[reference.recording]


def label_mix(reference: Reference, undrifted: Undrifted, probabilities: Floats, rate: float) -> Finding:
    """Whether the labels answered are those that the model gives to this mix of genres.

    The distance is half the sum of the absolute differences of the shares (total variation).

    Parameters
    ----------
    reference
        Whose probabilities are this model's own.
    undrifted
        The resampled windows.
    probabilities
        The window's answers, float32 [n, n_classes].
    rate
        The false-alarm rate.
    """
    classes = len(reference.labels)
    observed = np.bincount(probabilities.argmax(axis=1), minlength=classes) / len(probabilities)
    kinds = [np.eye(classes, dtype=np.float32)[known.argmax(axis=1)] for known in _known(reference)]
    usual = [_genre_means(reference, answered) for answered in kinds]
    distances = [float(np.abs(observed - undrifted.mix @ by_genre).sum() / 2) for by_genre in usual]

    def strays(windows: Windows) -> float:
        return max(
            _tail(far, np.abs(answered[windows.rows].mean(axis=1) - windows.mixes @ by_genre).sum(axis=1) / 2)
            for answered, by_genre, far in zip(kinds, usual, distances, strict=True)
        )

    p_value = _p_value(strays, undrifted, rate)
    most = reference.labels[int(observed.argmax())]
    return Finding(
        level(p_value, rate),
        f"labels {distances[0]:.2f} from the expected mix (p = {p_value:.3f}), most often {most} ({observed.max():.0%})",
        {
            "p_value": p_value,
            "distance": round(min(distances), 4),
            "labels": {g: round(float(s), 4) for g, s in zip(reference.labels, observed, strict=True) if s},
        },
    )


def confidence(reference: Reference, undrifted: Undrifted, probabilities: Floats, rate: float) -> Finding:
    """Whether the model is as sure of its answers as on data like its training data.

    Less sure may be detected. More sure is suspected at most, and only by `NOTABLE` or more: it hurts nobody by
    itself, known files do it too, and a model that is hardly ever unsure is surer by a little in every other window.
    """
    observed = float(probabilities.max(axis=1).mean())
    kinds = [known.max(axis=1) for known in _known(reference)]
    usual = [_genre_means(reference, sure[:, None])[:, 0] for sure in kinds]
    expected = [float(undrifted.mix @ by_genre) for by_genre in usual]

    def strays(windows: Windows) -> float:
        return max(
            _tail(abs(observed - mean), np.abs(sure[windows.rows].mean(axis=1) - windows.mixes @ by_genre))
            for sure, by_genre, mean in zip(kinds, usual, expected, strict=True)
        )

    p_value = _p_value(strays, undrifted, rate)
    nearest = min(expected, key=lambda mean: abs(mean - observed))
    found = level(p_value, rate)
    if observed > nearest:
        notable = found is not Level.OK and observed - nearest >= NOTABLE
        found = Level.SUSPECTED if notable else Level.OK
    return Finding(
        found,
        f"mean confidence {observed:.2f}, usually {nearest:.2f} at this genre mix (p = {p_value:.3f})",
        {"p_value": p_value, "confidence": round(observed, 4), "usual": round(nearest, 4)},
    )


def estimated_accuracy(reference: Reference, probabilities: Floats) -> tuple[Estimate, float]:
    """Accuracy without labels, from the probabilities (CBPE), and what the model reached on its training data.

    The mean of the highest probability is the expected accuracy if the probabilities are calibrated; by how much
    they are not is known from the out-of-fold answers and is taken off. The interval holds the chance of the items'
    outcomes and the uncertainty of that correction, by recordings. It does not hold a change of what the genres mean:
    no estimate without labels can.
    """
    sure = probabilities.max(axis=1).astype(np.float64)
    known = averaged(reference)
    right = known.argmax(axis=1) == reference.genre
    gap_by_row = right - known.max(axis=1)
    gaps = np.bincount(reference.recording, gap_by_row) / np.bincount(reference.recording)
    correction = float(gaps.mean())
    variance = float((sure * (1 - sure)).sum() / len(sure) ** 2 + gaps.var(ddof=1) / len(gaps))
    value = float(sure.mean()) + correction
    half = 1.96 * float(np.sqrt(variance))
    usual = float((np.bincount(reference.recording, right) / np.bincount(reference.recording)).mean())
    return Estimate(*(float(np.clip(v, 0, 1)) for v in (value, value - half, value + half))), usual


def of_estimated_accuracy(reference: Reference, probabilities: Floats) -> Finding:
    """Low when the whole interval is below the usual accuracy less `LOSS`; suspected when the estimate itself is."""
    estimate, usual = estimated_accuracy(reference, probabilities)
    bound = usual - LOSS
    found = Level.DETECTED if estimate.high < bound else Level.SUSPECTED if estimate.value < bound else Level.OK
    return Finding(
        found,
        f"estimated accuracy {estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f}), usually {usual:.2f}",
        {
            "accuracy": round(estimate.value, 4),
            "low": round(estimate.low, 4),
            "high": round(estimate.high, 4),
            "usual": round(usual, 4),
        },
    )


def of_labels(
    truth: NDArray[np.intp], answered: NDArray[np.intp], estimate: Mapping[str, Any] | None, items: int
) -> Finding:
    """Accuracy and G-mean of the items whose labels have come, and how far the estimate was off.

    Parameters
    ----------
    truth, answered
        Labels as numbers, [n].
    estimate
        The values of `of_estimated_accuracy` of the window, if there are any.
    items
        Items of the window, labelled or not.
    """
    accuracy = float((truth == answered).mean())
    recalls = [float((answered[truth == genre] == genre).mean()) for genre in np.unique(truth)]
    g_mean = float(np.exp(np.mean(np.log(recalls)))) if min(recalls) > 0 else 0.0
    values: dict[str, Any] = {"labelled": len(truth), "accuracy": round(accuracy, 4), "g_mean": round(g_mean, 4)}
    said, found = "", Level.OK
    if estimate is not None:
        error = float(estimate["accuracy"]) - accuracy
        values["estimate_error"] = round(error, 4)
        said = f"; the estimate was {error:+.2f} off"
        # Three binomial standard errors below the usual accuracy, and by more than the loss that is let pass.
        spread = 3 * float(np.sqrt(estimate["usual"] * (1 - estimate["usual"]) / len(truth)))
        found = Level.DETECTED if accuracy < estimate["usual"] - max(spread, LOSS) else Level.OK
    return Finding(
        found,
        f"accuracy {accuracy:.2f}, G-mean {g_mean:.2f} on {len(truth)} of {items} items that have labels{said}",
        values,
    )


def _genre_means(reference: Reference, values: NDArray[Any]) -> Floats:
    """Mean of the rows' values for each genre, [rows, k] -> float32 [g, k]."""
    return np.stack([values[reference.genre == genre].mean(axis=0) for genre in reference.genres]).astype(np.float32)


def _known(reference: Reference) -> tuple[Floats, Floats]:
    """Probabilities of single rows and of averaged recordings, float32 [rows, c] each."""
    return reference.probabilities, averaged(reference)


def _p_value(strays: Callable[[Windows], float], undrifted: Undrifted, rate: float) -> float:
    """The p-value of a question to resampled windows, asked of as many as it takes."""
    return stages.ask(lambda count: (strays(undrifted.first(count)), None), undrifted.total, SUSPICION * rate)[0]


def _tail(observed: float, resampled: NDArray[Any]) -> float:
    """Share of undrifted windows at least as far off, the real window among them."""
    return float((1 + (resampled >= observed - 1e-9).sum()) / (1 + len(resampled)))
