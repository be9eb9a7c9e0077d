"""How far do windows stray from the reference when nothing has drifted? Answered by resampling the reference.

Each resampled window takes recordings of the wanted genre mix and one row of each, and is compared with a resampled
reference (whole recordings, as rows of one recording are not independent), by exactly the steps that a real window
goes through, the estimate of its mix included. So the answer holds for this window size, these correlated features,
this mix and a reference of this size; no formula has to be believed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genre_assets.serving.drift import mix
from genre_assets.serving.drift.reference import Floats, Reference

RESAMPLES = 499
LEAST_FREEDOM = 10.0


@dataclass(frozen=True)
class Baseline:
    """What of the reference is the same for every window; made once for many windows.

    Attributes
    ----------
    genre_scores
        Mean scores of each genre, float32 [g, 2d].
    resampled_scores
        The same of resampled references, float32 [resamples, g, 2d].
    row_scores
        Scores of each row for resampled windows, float32 [rows, 2d].
    row_share
        Chance of each row given its genre, [rows].
    whitener
        Makes scores uncorrelated within a genre, float32 [2d, 2d].
    """

    reference: Reference
    genre_scores: Floats
    resampled_scores: Floats
    row_scores: Floats
    row_share: NDArray[np.float64]
    whitener: Floats

    @cached_property
    def whitened(self) -> Floats:
        """`genre_scores` whitened, float32 [1, g, 2d]."""
        return (self.genre_scores @ self.whitener)[None]

    @cached_property
    def resampled_whitened(self) -> Floats:
        """`resampled_scores` whitened, float32 [resamples, g, 2d]."""
        return self.resampled_scores @ self.whitener


def baseline(reference: Reference, *, resamples: int = RESAMPLES, seed: int = 20261) -> Baseline:
    """Summarise and resample the reference, genre by genre.

    A sample of m recordings varies less than its population by (m - 1) / m; scores are spread by the root of the
    inverse, which matters for the three recordings a genre of a small collection and for nothing else.
    """
    rng = np.random.default_rng(seed)
    scores = reference.scores
    rows_of = np.bincount(reference.recording)
    means, resampled = [], []
    row_scores = np.empty_like(scores)
    row_share = np.zeros(len(scores))
    for genre in reference.genres:
        members = np.flatnonzero(reference.genre == genre)
        names, recording = np.unique(reference.recording[members], return_inverse=True)
        per_recording = np.zeros((len(names), scores.shape[1]), np.float32)
        np.add.at(per_recording, recording, scores[members])
        per_recording /= np.bincount(recording)[:, None]
        mean = per_recording.mean(axis=0)
        spread = np.float32(np.sqrt(len(names) / max(len(names) - 1, 0.5)))
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        drawn = counts.astype(np.float32) @ per_recording / len(names)
        means.append(mean)
        resampled.append(mean + spread * (drawn - mean))
        row_scores[members] = mean + spread * (scores[members] - mean)
        row_share[members] = 1 / (len(names) * rows_of[reference.recording[members]])
    position = reference.genres.searchsorted(reference.genre)
    whitener = mix.whitening(row_scores - np.array(means)[position], reference.recordings)
    return Baseline(reference, np.array(means), np.stack(resampled, axis=1), row_scores, row_share, whitener)


def difference(base: Baseline, scores: Floats) -> tuple[Floats, Floats]:
    """A window's mean scores minus what its genre mix leads one to expect.

    Parameters
    ----------
    base
        The reference.
    scores
        `rank_scores` of the window's items, float32 [n, 2d].

    Returns
    -------
    The difference, float32 [2d], and the window's genre mix, float32 [g].
    """
    window = scores.mean(axis=0)
    shares = mix.best_fit(base.whitened, (window @ base.whitener)[None])[0]
    return window - shares @ base.genre_scores, shares


@dataclass(frozen=True)
class Undrifted:
    """Resampled windows of one size and genre mix, with no drift in them.

    Attributes
    ----------
    mix
        The genre mix they were drawn at, [g].
    rows
        The reference rows of each window, [resamples, items].
    mixes
        The mix that each window itself suggests, float32 [resamples, g].
    differences
        What `difference` gives for each, float32 [resamples, 2d].
    """

    mix: Floats
    rows: NDArray[np.intp]
    mixes: Floats
    differences: Floats


def undrifted(base: Baseline, shares: Floats, items: int, *, seed: int) -> Undrifted:
    """Windows of this genre mix [g] and number of items; the same seed gives the same windows."""
    reference = base.reference
    resamples, rows = len(base.resampled_scores), len(base.row_scores)
    position = reference.genres.searchsorted(reference.genre)
    chance = np.cumsum(base.row_share * shares[position])
    uniform = np.random.default_rng(seed).random((resamples, items)) * chance[-1]
    drawn = np.minimum(chance.searchsorted(uniform, "right"), rows - 1)
    flat = drawn + np.arange(resamples)[:, None] * rows
    counts = np.bincount(flat.ravel(), minlength=resamples * rows).reshape(resamples, rows)
    windows: Floats = counts.astype(np.float32) @ base.row_scores / np.float32(items)
    estimated = mix.best_fit(base.resampled_whitened, windows @ base.whitener)
    expected: Floats = np.einsum("bg,bgs->bs", estimated, base.resampled_scores, optimize=True)
    return Undrifted(shares, drawn, estimated, _spread_by_doubt(base, shares, windows - expected, seed))


def _spread_by_doubt(base: Baseline, shares: Floats, differences: Floats, seed: int) -> Floats:
    """Differences with the heavier tails that come of knowing their spread only from so many recordings.

    What Student's t is to the normal distribution: each resampled window is stretched by the root of f / chi-squared
    with f degrees of freedom, f + 1 being the recordings that bear on this genre mix (Kish's effective number). With
    fewer than `LEAST_FREEDOM` the tails would drown any drift; then genres lend each other what is known.
    """
    names, first = np.unique(base.reference.recording, return_index=True)
    per_genre = np.bincount(base.reference.genre[first])[base.reference.genres]
    freedom = max(1 / float((shares.astype(np.float64) ** 2 / per_genre).sum()) - 1, LEAST_FREEDOM)
    stretch = np.sqrt(freedom / np.random.default_rng(seed + len(names)).chisquare(freedom, len(differences)))
    centre = differences.mean(axis=0)
    stretched: Floats = centre + (differences - centre) * stretch.astype(np.float32)[:, None]
    return stretched
