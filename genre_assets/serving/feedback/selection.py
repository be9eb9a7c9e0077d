"""Which answered clips are worth a label, and are unlike each other: a few for each reason, no five of one song.

Pure: arrays in, places out. The same items in the same order give the same list.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.reference import Floats, rank_scores

RARE = 5.0  # percent of pairs of different recordings that may be as near to each other as what counts as the same
USUAL = 75.0  # percent of pairs of segments of one recording that are as near
PAIRS = 2000


def strangeness(base: Baseline, values: Floats) -> Floats:
    """How far each item is from the nearest genre of the training data, in whitened rank scores, float32 [n]."""
    whitened = rank_scores(base.reference, values) @ base.whitener
    distances = np.linalg.norm(whitened[:, None, :] - base.whitened, axis=2)
    nearest: Floats = distances.min(axis=1)
    return nearest


def positions(base: Baseline, values: Floats) -> Floats:
    """Items where distances between them mean something: in units of the training data's spread, float32 [n, d].

    Not rank scores: beyond the training data all ranks are the same, and so would be all drifted songs.
    """
    known = base.reference.values.astype(np.float64)
    spread = known.std(axis=0)
    found: Floats = ((values - known.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    return found


def neighbourhood(base: Baseline, *, seed: int = 20261) -> float:
    """Two items that are nearer to each other than this count as the same song.

    Three of four pairs of segments of one recording are, as far as fewer than one of twenty pairs of different recordings is.
    """
    rng = np.random.default_rng(seed)
    recording = base.reference.recording
    rows = positions(base, base.reference.values)
    one, other = rng.integers(0, len(rows), (2, PAIRS))
    different = recording[one] != recording[other]
    if not different.any():
        return 0.0
    between = float(np.percentile(_distances(rows, one[different], other[different]), RARE))
    order = np.argsort(recording, kind="stable")
    same = np.flatnonzero(recording[order][1:] == recording[order][:-1])[:PAIRS]
    if not len(same):
        return between / 2
    within = float(np.percentile(_distances(rows, order[same], order[same + 1]), USUAL))
    return min(within, between)


def disagreement(served: Floats, other: Floats) -> Floats:
    """How much two models disagree on each item: 0 where they give the same label, else the distance of what they answer.

    Both float32 [n, n_classes]; the result is the total variation, float32 [n], 0 to 1.
    """
    differ = served.argmax(axis=1) != other.argmax(axis=1)
    found: Floats = np.where(differ, np.abs(served - other).sum(axis=1) / 2, 0).astype(np.float32)
    return found


def choose(scores: Mapping[str, Sequence[float]], places: Floats, radius: float, limit: int) -> list[tuple[int, str]]:
    """(index, reason) of at most `limit` items: the reasons take turns, each gives its highest score that is left.

    An item of which one that is nearer than `radius` is listed already is passed over, as is a score of 0 or less.

    Parameters
    ----------
    scores
        By reason, one score for each item, [n].
    places
        Where the items are, float32 [n, k]; rows with NaN are near nothing.
    radius
        See `neighbourhood`.
    limit
        Of the list.
    """
    queues = {
        reason: [int(i) for i in np.argsort(-np.asarray(values), kind="stable") if values[i] > 0]
        for reason, values in scores.items()
    }
    free: NDArray[np.bool_] = np.ones(len(places), np.bool_)
    chosen: list[tuple[int, str]] = []
    while len(chosen) < limit and any(queues.values()):
        for reason, queue in queues.items():
            index = next((i for i in queue if free[i]), None)
            if index is None:
                queue.clear()
                continue
            if len(chosen) == limit:
                break
            queue.remove(index)
            chosen.append((index, reason))
            near = np.linalg.norm(places - places[index], axis=1) < radius
            free &= ~near
            free[index] = False
    return chosen


def _distances(rows: Floats, one: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
    found: Floats = np.linalg.norm(rows[one] - rows[other], axis=1)
    return found
