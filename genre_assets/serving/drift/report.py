"""What people look at: small plots for Dagster, and Evidently's page on the features that moved most.

Made after the verdict is kept; nothing here decides anything. Evidently's own tests are not asked for a verdict.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets.pictures import as_markdown, as_png
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.reference import Floats, Reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVIDENTLY_FEATURES = 12  # each costs about 0.15 s and 0.1 MB
REWEIGHTED_ROWS = 500
COLOURS = {Level.OK: "#3a7d44", Level.SUSPECTED: "#e0a030", Level.DETECTED: "#c0392b", Level.INCONCLUSIVE: "#999999"}


def reweighted(reference: Reference, mix: dict[str, float], *, seed: int = 0) -> Floats:
    """Reference rows drawn at a window's genre mix, float32 [REWEIGHTED_ROWS, d]."""
    shares = np.array([mix.get(genre, 0.0) for genre in reference.labels])[reference.genre]
    shares = shares / np.bincount(reference.genre, minlength=len(reference.labels))[reference.genre]
    rows = np.random.default_rng(seed).choice(len(shares), REWEIGHTED_ROWS, p=shares / shares.sum())
    return reference.values[rows]


def evidently_page(columns: Sequence[str], reference: Floats, window: Floats) -> str:
    """Evidently's data drift page (HTML) on the given columns of two tables of rows.

    Its import takes about six seconds and its deprecation warnings are its own, so both stay in here.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(numerical_columns=list(columns))
        current, normal = (
            Dataset.from_pandas(pd.DataFrame(rows, columns=list(columns)), data_definition=definition)
            for rows in (window, reference)
        )
        # One test whatever the sizes (its default changes at 1,000 rows), corrected for the number of features.
        preset = DataDriftPreset(method="ks", threshold=0.05 / len(columns))
        page: str = Report([preset]).run(current, normal).get_html_str(as_iframe=False)
    return page


def ranked_features(features: Sequence[dict[str, Any]]) -> str:
    """Bars of the most drifted features, shift and spread in standard errors, as Markdown with an image."""
    top = features[:15][::-1]
    figure, axes = _figure(6, 0.28 * len(top) + 0.8)
    position = np.arange(len(top))
    axes.barh(position + 0.2, [f["shift"] for f in top], 0.4, label="shift")
    axes.barh(position - 0.2, [f["spread"] for f in top], 0.4, label="spread")
    axes.set_yticks(position, [f["name"] for f in top], fontsize=7)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.set_xlabel("window against reference, standard errors")
    axes.legend(fontsize=7)
    return _markdown(figure, "drifted features")


def genre_mix(mix: dict[str, float], predicted: dict[str, float]) -> str:
    """The mix that the features suggest beside the labels answered, as Markdown with an image."""
    figure, axes = _figure(6, 2.6)
    genres = sorted(mix.keys() | predicted.keys())
    position = np.arange(len(genres))
    axes.bar(position - 0.2, [mix.get(g, 0) for g in genres], 0.4, label="estimated from the features")
    axes.bar(position + 0.2, [predicted.get(g, 0) for g in genres], 0.4, label="labels answered")
    axes.set_xticks(position, genres, rotation=45, fontsize=7)
    axes.set_ylabel("share")
    axes.legend(fontsize=7)
    return _markdown(figure, "genre mix")


def confidences(window: Floats, usual: Floats | None) -> str:
    """Distribution of the items' confidence, beside that of the model's out-of-fold answers, as Markdown with an image."""
    figure, axes = _figure(6, 2.4)
    edges = np.linspace(0, 1, 21)
    axes.hist(window, edges, density=True, alpha=0.6, label="window")
    if usual is not None:
        axes.hist(usual, edges, density=True, histtype="step", color="black", label="out-of-fold answers")
    axes.set_xlabel("confidence")
    axes.set_yticks([])
    axes.legend(fontsize=7)
    return _markdown(figure, "confidence")


def alarm_history(history: Sequence[tuple[str, Level, float | None]], false_alarm_rate: float) -> str:
    """p-values of the last windows, oldest first, (route, level, p-value) each, as Markdown with an image."""
    figure, axes = _figure(6, 2.4)
    for place, (route, level, p_value) in enumerate(history):
        marker = "o" if route == "champion" else "s"
        axes.plot(place, p_value or 1.0, marker, color=COLOURS[level], fillstyle="full" if p_value else "none")
    axes.axhline(false_alarm_rate, color="black", linewidth=0.7, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(top=1.5)
    axes.set_xlabel("window (circle: champion serves, square: fallback)")
    axes.set_ylabel("p-value")
    return _markdown(figure, "alarm history")


def _figure(width: float, height: float) -> tuple["Figure", Any]:
    """A figure apart from pyplot's global state, so that nothing has to be closed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _markdown(figure: "Figure", name: str) -> str:
    return as_markdown(name, as_png(figure, dpi=90))
