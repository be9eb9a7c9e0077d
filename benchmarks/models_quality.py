"""Honest quality on the 999 public rows with known artists: random, artist-grouped and fault-filtered evaluation.

Every family is tuned inside the folds, on the training rows of the fold alone, with the same grouping as outside; the
model that a fold would have made champion is chosen by its cross-validation there. `python -m benchmarks.models_quality`
writes docs/model_quality.md from the figures; studies are kept in a file, so that an interrupted run goes on.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.modeltools import SEED, VOTE, chosen, labels_of, table, tuned_models
from genre_assets.genres import GENRES
from genre_assets.models import evaluate, split
from genre_assets.models.evaluate import Evaluation, Recordings
from genre_assets.models.families import FAMILIES
from genre_assets.models.training import Part

TRIALS = {"xgboost": 5, "random_forest": 5, "k_neighbors": 12, "linear": 8}
OUTER = 10
CHOSEN = "chosen in the fold"
NAMES = (*FAMILIES, VOTE, CHOSEN)
BARS = {"57": (0.57, 0.52), "37": (0.52, 0.45)}
"""Accuracy and G-mean to beat on new artists, by the number of columns."""
COMMAND = "python -m benchmarks.run models_quality"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "model_quality.md"
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
        return Part(self.features[rows], self.labels[rows], groups[rows], self.names[rows])


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
        held_out = split.folds(groups.tolist(), data.labels, OUTER, SEED)
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


def run(storage_url: str | None = None) -> list[dict[str, Any]]:
    """All tables and schemes; writes the page too."""
    with tempfile.TemporaryDirectory() as folder:
        url = storage_url or f"sqlite:///{Path(folder) / 'quality.db'}"
        found = {
            columns: {s: evaluate_scheme(tracks(columns), s, storage_url=url, name=columns) for s in SCHEMES}
            for columns in ("57", "37")
        }
    PAGE.write_text(page(found))
    figures = []
    for columns, (accuracy, g_mean) in BARS.items():
        for model in NAMES:
            metrics = found[columns]["artist-grouped"][model].metrics
            for metric, bar in (("accuracy", accuracy), ("g_mean", g_mean)):
                value = metrics[metric].value
                judged = model == CHOSEN
                figures.append(
                    {
                        "name": f"models: {metric} on new artists, {columns} columns, {model}",
                        "value": value,
                        "unit": "",
                        "bar": f"> {bar}" if judged else "",
                        "holds": value > bar if judged else True,
                        "command": COMMAND,
                    }
                )
    return figures


def page(found: dict[str, dict[str, dict[str, Evaluation]]]) -> str:
    """docs/model_quality.md."""
    shown = [_INTRODUCTION]
    for columns, schemes in found.items():
        for scheme, models in schemes.items():
            recordings = next(iter(models.values())).recordings
            shown.append(f"\n## {columns} columns, {scheme} ({recordings} tracks)\n")
            shown.append("| model | accuracy | G-mean | balanced accuracy | log-loss | calibration error |")
            shown.append("|---|---|---|---|---|---|")
            for model, evaluation in models.items():
                metrics = evaluation.metrics
                cells = [
                    str(metrics[m])
                    for m in ("accuracy", "g_mean", "balanced_accuracy", "log_loss", "calibration_error")
                ]
                shown.append(f"| {model} | {' | '.join(cells)} |")
        worst = schemes["artist-grouped"][CHOSEN].recalls
        recalls = ", ".join(f"{genre} {recall}" for genre, recall in sorted(worst.items(), key=lambda r: r[1].value))
        shown.append(f"\nRecalls on new artists ({CHOSEN}), lowest first: {recalls}.\n")
    return "\n".join(shown) + "\n"


_INTRODUCTION = f"""# Model quality

<!-- Written by `python -m benchmarks.models_quality`; do not edit. -->

How well the models do on GTZAN's tracks whose artists are known (999 rows of the public tables, 37 columns of the
feature set `gtzan37`, and the widely used public table of 57 columns). Every family is tuned inside the folds
({", ".join(f"{name} {n} trials" for name, n in TRIALS.items())}) on the training rows of the fold alone; `vote` is
their mean, `{CHOSEN}` is the one that cross-validation within the fold would have made champion. Brackets are 95 %
bootstrap intervals over artists.

- **random**: ten folds of tracks. An artist's other tracks are in training: this is what most published figures are.
- **artist-grouped**: ten folds of artists. What to expect of music by artists that are not in the training set.
- **fault-filtered**: the fixed split of the literature without repeated, distorted and mislabelled tracks.

The G-mean is the geometric mean of the recalls of all genres. It is 0 when one genre is never recognised, however good
the rest is, which is why the other figures stand beside it.
"""


def _in_order(wanted: pd.DataFrame, order: "pd.Series[str]") -> pd.DataFrame:
    return wanted.set_index("track_id").reindex(order).reset_index(drop=True)


def main() -> None:
    """Run with studies in a file that outlives an interruption."""
    store = Path(tempfile.gettempdir()) / "genre_model_quality_studies.db"
    print(json.dumps(run(f"sqlite:///{store}"), indent=1))
    store.unlink()


if __name__ == "__main__":
    main()
