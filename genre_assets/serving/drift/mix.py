"""Which genres does a window hold? An album of one genre is not drift, so the reference follows the window's mix.

The mix is the one that explains the window's features best: least squares over all mixes, in units in which the
features are uncorrelated within a genre. It needs no model's opinion, so it is the same for champion and fallback, and
it is the mix most favourable to "nothing has drifted", so that a wrong guess of the mix cannot raise an alarm.
"""

import numpy as np
from numpy.typing import NDArray

from genre_assets.serving.drift.reference import Floats

STEPS = 200
EXCHANGES = 12


def whitening(residuals: Floats, recordings: int) -> Floats:
    """The matrix that turns within-genre residuals into uncorrelated scores of variance one.

    The correlation is shrunk to the identity by columns / (columns + recordings): as much as it is unknown.

    Parameters
    ----------
    residuals
        Scores minus their genre's mean, float32 [rows, s].
    recordings
        How many recordings the rows come from.

    Returns
    -------
    float32 [s, s]; apply as `scores @ matrix`.
    """
    s = residuals.shape[1]
    deviation = np.maximum(residuals.std(axis=0, dtype=np.float64), 1e-3)
    standard = residuals / deviation
    correlation = standard.T @ standard / len(standard)
    shrinkage = s / (s + recordings)
    lower = np.linalg.cholesky((1 - shrinkage) * correlation + shrinkage * np.eye(s))
    whitener: Floats = np.linalg.solve(lower, np.diag(1 / deviation)).T.astype(np.float32)
    return whitener


def best_fit(genre_means: Floats, window_means: Floats) -> Floats:
    """The shares of genres whose mixture lies nearest to each window's mean: minimises |w - p M|^2 over the simplex.

    Parameters
    ----------
    genre_means
        Whitened mean scores of each genre, float32 [windows or 1, g, s].
    window_means
        Whitened mean scores of each window, float32 [windows, s].

    Returns
    -------
    float32 [windows, g], each row summing to one.
    """
    target = (genre_means @ window_means[:, :, None])[:, :, 0]
    return nearest(products(genre_means), target.astype(np.float64))


def products(genre_means: Floats) -> NDArray[np.float64]:
    """Inner products of the genres' means, [windows or 1, g, s] -> [windows or 1, g, g], never quite singular."""
    gram = (genre_means @ genre_means.transpose(0, 2, 1)).astype(np.float64)
    ridge = 1e-9 * np.maximum(np.trace(gram, axis1=1, axis2=2), 1e-9)
    lifted: NDArray[np.float64] = gram + ridge[:, None, None] * np.eye(gram.shape[1])
    return lifted


def nearest(gram: NDArray[np.float64], target: NDArray[np.float64]) -> Floats:
    """The shares p that minimise p G p / 2 - p t over the simplex, window by window.

    Genres are left out, or taken in again, until the conditions of Karush, Kuhn and Tucker hold: some few linear systems,
    which is exact. Windows that go in circles, as such exchanges in blocks may, are left to descent.

    Parameters
    ----------
    gram
        `products`, [windows or 1, g, g].
    target
        Inner products of the genres' means with the window's, [windows, g].

    Returns
    -------
    float32 [windows, g].
    """
    windows, genres = target.shape
    gram = np.broadcast_to(gram, (windows, genres, genres))
    shares = np.zeros((windows, genres))
    member = np.ones((windows, genres), bool)
    waiting = np.arange(windows)
    slack = 1e-9 * (1 + np.abs(target).max(axis=1, initial=0.0))
    for _ in range(EXCHANGES):
        found, price = _on_members(gram[waiting], target[waiting], member[waiting])
        low: NDArray[np.bool_] = np.less(found, -1e-12)
        gradient = (gram[waiting] @ found[:, :, None])[:, :, 0] - target[waiting] + price[:, None]
        cheap = ~member[waiting] & (gradient < -slack[waiting, None])
        member[waiting] = np.where(low.any(axis=1, keepdims=True), member[waiting] & ~low, member[waiting] | cheap)
        done = ~(low | cheap).any(axis=1)
        shares[waiting[done]] = np.maximum(found[done], 0)
        waiting = waiting[~done]
        if not len(waiting):
            break
    if len(waiting):
        shares[waiting] = _descend(gram[waiting], target[waiting])
    return shares.astype(np.float32)


def _on_members(
    gram: NDArray[np.float64], target: NDArray[np.float64], member: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best shares that sum to one, of any sign, zero for who is no member, [n, g]; and what a share costs, [n]."""
    n, g = target.shape
    system = np.zeros((n, g + 1, g + 1))
    system[:, :g, :g] = np.where(member[:, :, None] & member[:, None, :], gram, 0.0)
    system[:, np.arange(g), np.arange(g)] += ~member
    system[:, :g, g] = system[:, g, :g] = member
    right = np.concatenate([np.where(member, target, 0.0), np.ones((n, 1))], axis=1)
    solved: NDArray[np.float64] = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    return solved[:, :g], solved[:, g]


def _descend(gram: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same by accelerated projected gradient steps, [windows, g, g] and [windows, g] -> [windows, g]."""
    step = 1 / np.maximum(np.linalg.norm(gram, ord=2, axis=(1, 2)), 1e-9)[:, None]
    shares = np.full(target.shape, 1 / target.shape[1])
    ahead, momentum = shares, 1.0
    for _ in range(STEPS):
        gradient = (gram @ ahead[:, :, None])[:, :, 0] - target
        moved = _onto_simplex(ahead - step * gradient)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - shares)
        shares, momentum = moved, following
    return shares


def plausible(shares: Floats) -> list[Floats]:
    """The mixes that a window with these best-fitting shares may have: they themselves, and their large ones alone.

    A window of a single genre gets a few small shares of its neighbours by chance. Windows resampled at that mix vary
    less, in the directions of its genre, than it does.
    """
    large = np.where(shares >= shares.max() / 2, shares, np.float32(0))
    sharpened = large / large.sum()
    return [shares] if np.array_equal(sharpened, shares) else [shares, sharpened]


def _onto_simplex(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest shares (not negative, summing to one) to each row (Held, Wolfe and Crowder, 1974)."""
    ordered = -np.sort(-points, axis=1)
    excess = (np.cumsum(ordered, axis=1) - 1) / np.arange(1, points.shape[1] + 1)
    last = np.maximum((ordered > excess).sum(axis=1) - 1, 0)
    return np.maximum(points - np.take_along_axis(excess, last[:, None], axis=1), 0)
