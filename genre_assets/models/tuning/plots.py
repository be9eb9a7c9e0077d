"""The plots of the model card, as PNG bytes; used for MLflow's artifacts and for the assets' pages alike."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.tuning import evaluate
from genre_assets.pictures import as_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (6.4, 4.4)


def class_balance(counts: Mapping[str, Mapping[str, int]]) -> bytes:
    """Stacked bars: for each genre the recordings in each split (`counts[split][genre]`)."""
    figure, axes = _new("Recordings by genre and split", "", "recordings")
    genres = sorted({genre for of_split in counts.values() for genre in of_split})
    base = np.zeros(len(genres))
    for split, of_split in counts.items():
        height = np.array([of_split.get(genre, 0) for genre in genres], dtype=float)
        axes.bar(genres, height, bottom=base, label=split)
        base += height
    axes.tick_params(axis="x", rotation=45)
    axes.legend()
    return as_png(figure)


def confusion(table: NDArray[np.int64], labels: Sequence[str], title: str) -> bytes:
    """Counts of true (rows) against predicted (columns) genres."""
    figure, axes = _new(title, "predicted", "true")
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    return as_png(figure)


def reliability(songs: evaluate.Recordings, title: str) -> bytes:
    """Accuracy against confidence; on the diagonal a confidence means what it says."""
    confidence, accuracy, counts = evaluate.calibration_bins(songs)
    figure, axes = _new(title, "confidence", "accuracy")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.scatter(confidence, accuracy, s=20 + 200 * counts / counts.sum())
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    return as_png(figure)


def importance(shares: NDArray[np.float64], columns: Sequence[str], top: int = 20) -> bytes:
    """The columns that matter most to the model."""
    figure, axes = _new("Feature importance", "share", "")
    order = np.argsort(shares)[-top:]
    axes.barh([columns[i] for i in order], shares[order])
    axes.tick_params(axis="y", labelsize=7)
    return as_png(figure)


def study_history(scores: Sequence[float | None]) -> bytes:
    """Each finished trial's score, and the best so far; trials that were pruned have none."""
    figure, axes = _new("Study", "trial", "cross-validated objective")
    done = [(i, s) for i, s in enumerate(scores) if s is not None]
    axes.scatter([i for i, _ in done], [s for _, s in done], s=14, label="trial")
    axes.step([i for i, _ in done], np.maximum.accumulate([s for _, s in done]), where="post", label="best so far")
    axes.legend()
    return as_png(figure)


def _new(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes
