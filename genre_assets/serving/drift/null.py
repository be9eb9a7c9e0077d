"""How far do windows stray from the reference when nothing has drifted? Answered by resampling the reference.

Each resampled window takes recordings of the wanted genre mix and one row of each, and is compared with a resampled
reference (whole recordings, as rows of one recording are not independent), by exactly the steps that a real window
goes through, the estimate of its mix included. So the answer holds for this window size, these correlated features,
this mix and a reference of this size; no formula has to be believed. They are drawn as they are asked for (`stages.py`).
"""

from dataclasses import dataclass, field
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

    @cached_property
    def resampled_products(self) -> NDArray[np.float64]:
        """`mix.products` of `resampled_whitened`, [resamples, g, g]."""
        return mix.products(self.resampled_whitened)


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
class Windows:
    """Resampled windows of one size and genre mix, with no drift in them.

    Attributes
    ----------
    rows
        The reference rows of each window, [windows, items].
    mixes
        The mix that each window itself suggests, float32 [windows, g].
    differences
        What `difference` gives for each, float32 [windows, 2d].
    """

    rows: NDArray[np.intp]
    mixes: Floats
    differences: Floats


@dataclass
class Undrifted:
    """Windows without drift, of one genre mix [g] and number of items, drawn as far as they were asked for.

    The same seed gives the same windows, however many are asked for at a time.
    """

    base: Baseline
    mix: Floats
    items: int
    seed: int
    _drawn: list[Windows] = field(default_factory=list, repr=False)
    _stretches: list[Floats] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        base = self.base
        position = base.reference.genres.searchsorted(base.reference.genre)
        self._chance = np.cumsum(base.row_share * self.mix[position])
        self._uniform = np.random.default_rng(self.seed)
        names, first = np.unique(base.reference.recording, return_index=True)
        per_genre = np.bincount(base.reference.genre[first])[base.reference.genres]
        known = 1 / float((self.mix.astype(np.float64) ** 2 / per_genre).sum())
        self._freedom = max(known - 1, LEAST_FREEDOM)
        self._doubt = np.random.default_rng(self.seed + len(names))

    @property
    def total(self) -> int:
        """How many there can be: one for each resampled reference."""
        return len(self.base.resampled_scores)

    def first(self, count: int) -> Windows:
        """The first `count` of them."""
        there = sum(len(block.rows) for block in self._drawn)
        if count > there:
            self._drawn.append(self._draw(there, count))
            stretch = np.sqrt(self._freedom / self._doubt.chisquare(self._freedom, count - there))
            self._stretches.append(stretch.astype(np.float32))
        rows, mixes, differences = (
            np.concatenate([getattr(block, name) for block in self._drawn])[:count]
            for name in ("rows", "mixes", "differences")
        )
        return Windows(rows, mixes, self._spread_by_doubt(differences, np.concatenate(self._stretches)[:count]))

    def _draw(self, begin: int, end: int) -> Windows:
        base, rows = self.base, len(self.base.row_scores)
        uniform = self._uniform.random((end - begin, self.items)) * self._chance[-1]
        drawn = np.minimum(self._chance.searchsorted(uniform, "right"), rows - 1)
        flat = drawn + np.arange(end - begin)[:, None] * rows
        counts = np.bincount(flat.ravel(), minlength=(end - begin) * rows).reshape(end - begin, rows)
        windows: Floats = counts.astype(np.float32) @ base.row_scores / np.float32(self.items)
        known = base.resampled_whitened[begin:end]
        target = (known @ (windows @ base.whitener)[:, :, None])[:, :, 0].astype(np.float64)
        estimated = mix.nearest(base.resampled_products[begin:end], target)
        expected = (estimated[:, None] @ base.resampled_scores[begin:end])[:, 0]
        return Windows(drawn, estimated, windows - expected)

    def _spread_by_doubt(self, differences: Floats, stretch: Floats) -> Floats:
        """Differences with the heavier tails that come of knowing their spread only from so many recordings.

        What Student's t is to the normal distribution: each resampled window is stretched by the root of f / chi-squared
        with f degrees of freedom, f + 1 being the recordings that bear on this genre mix (Kish's effective number). With
        fewer than `LEAST_FREEDOM` the tails would drown any drift; then genres lend each other what is known.
        """
        centre = differences.mean(axis=0)
        stretched: Floats = centre + (differences - centre) * stretch[:, None]
        return stretched
