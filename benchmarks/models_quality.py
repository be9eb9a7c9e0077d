"""Honest quality on the 999 public rows with known artists: random, artist-grouped and fault-filtered evaluation.

Every family is tuned inside the folds, on the training rows of the fold alone, with the same grouping as outside; the
model that a fold would have made champion is chosen by its cross-validation there, and every model is calibrated as it is
released: by one temperature, fitted on out-of-fold answers of the fold's training rows, which never share an artist with
the rows that they answer for. Ten minutes on two idle cores.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import figures
from benchmarks.figures import Result
from benchmarks.modeltools import SEED, VOTE, chosen, labels_of, table, tuned_models
from genre_assets.genres import GENRES
from genre_assets.models.data import split
from genre_assets.models.data.training import Part
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.tuning import evaluate
from genre_assets.models.tuning.evaluate import Evaluation, Interval, Recordings

TRIALS = {"xgboost": 5, "random_forest": 5, "k_neighbors": 12, "linear": 8}
OUTER = {"random": 5, "artist-grouped": 10}
"""Folds of a scheme; artists decide, so theirs are the finer ones."""
CHOSEN = "chosen in the fold"
NAMES = (*FAMILIES, VOTE, CHOSEN)
BARS = {
    "57": {"accuracy": "> 0.57", "g_mean": "> 0.52", "calibration_error": "<= 0.05"},
    "37": {"accuracy": "> 0.52", "g_mean": "> 0.45", "calibration_error": "<= 0.05"},
}
"""What the champion must reach on new artists, by the number of columns."""
METRICS = {"accuracy": "accuracy", "g_mean": "G-mean", "log_loss": "log-loss", "calibration_error": "calibration error"}
COMMAND = "python -m benchmarks.run models_quality"
SCHEMES = ("random", "artist-grouped", "fault-filtered")


@dataclass(frozen=True)
class Tracks:
    """One table: a row a track."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    artists: NDArray[np.str_]
    names: NDArray[np.str_]
    filtered: NDArray[np.str_]

    def part(self, rows: NDArray[np.int64], groups: NDArray[np.str_]) -> Part:
        """These rows, in these groups."""
        return Part(self.features[rows], self.labels[rows], groups[rows], self.names[rows], len(GENRES))


def tracks(columns: str) -> Tracks:
    """The table of 37 or of 57 columns."""
    known = table("gtzan_by_track")
    named = ["track_id", "genre", "artist", "filtered_split"]
    features = (
        known.drop(columns=named) if columns == "37" else _in_order(table("gtzan_by_track_57"), known["track_id"])
    )
    names = known["track_id"].to_numpy(str)
    artists = known["artist"].where(known["artist"].notna() & (known["artist"] != ""), known["track_id"]).to_numpy(str)
    filtered = known["filtered_split"].fillna("").to_numpy(str)
    return Tracks(features.to_numpy(np.float32), labels_of(known["genre"]), artists, names, filtered)


def evaluate_scheme(data: Tracks, scheme: str, *, storage_url: str, name: str) -> dict[str, Evaluation]:
    """Every model's figures over all held-out rows of a scheme; intervals are over artists."""
    groups = data.names if scheme == "random" else data.artists
    everyone = np.arange(len(data.labels))
    if scheme == "fault-filtered":
        held_out = [np.flatnonzero(data.filtered == "test")]
        usable = np.flatnonzero(np.isin(data.filtered, ["train", "valid"]))
    else:
        held_out = split.folds(groups.tolist(), data.labels, OUTER[scheme], SEED)
        usable = everyone
    answers = {model: np.zeros((len(everyone), len(GENRES))) for model in NAMES}
    for number, held in enumerate(held_out):
        train = np.setdiff1d(usable, held)
        key = f"{name}-{scheme}-{number}"
        models = tuned_models(data.part(train, groups), TRIALS, storage_url=storage_url, name=key)
        for model, made in models.items():
            answers[model][held] = made.answers(data.features[held])
        answers[CHOSEN][held] = answers[chosen(models)][held]
        print(f"  {key}: {chosen(models)}", file=sys.stderr, flush=True)
    rows = np.concatenate(held_out)
    return {
        model: evaluate.evaluate(
            Recordings(data.labels[rows], given[rows], data.artists[rows], data.names[rows]), GENRES, seed=SEED
        )
        for model, given in answers.items()
    }


def run() -> list[Result]:
    """All tables and schemes."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'quality.db'}"
        return [
            row
            for columns in BARS
            for scheme in SCHEMES
            for row in rows(columns, scheme, evaluate_scheme(tracks(columns), scheme, storage_url=url, name=columns))
        ]


def rows(columns: str, scheme: str, models: Mapping[str, Evaluation]) -> Iterator[Result]:
    """The figures of one table in one scheme; the champion's on new artists have bars, and the recalls beside them."""
    judged = scheme == "artist-grouped"
    for model, evaluation in models.items():
        for metric, words in METRICS.items():
            bar = BARS[columns][metric] if judged and model == CHOSEN and metric in BARS[columns] else ""
            yield _row(f"quality: {columns} columns, {scheme}, {model}: {words}", evaluation.metrics[metric], bar)
    if judged:
        for genre, recall in models[CHOSEN].recalls.items():
            yield _row(f"quality: {columns} columns, {scheme}, {CHOSEN}: recall of {genre}", recall)


def _row(name: str, interval: Interval, bar: str = "") -> Result:
    value, low, high = (float(f"{number:.6g}") for number in (interval.value, interval.low, interval.high))
    return {
        "name": name,
        "value": value,
        "unit": "",
        "bar": bar,
        "holds": figures.holds(value, bar),
        "command": COMMAND,
        "low": low,
        "high": high,
    }


def _in_order(wanted: pd.DataFrame, order: "pd.Series[str]") -> pd.DataFrame:
    return wanted.set_index("track_id").reindex(order).reset_index(drop=True)
