"""What the benchmarks of the models stage share: the public tables, and training without a registry."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.data.training import Part
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.onnx.graph import temper
from genre_assets.models.tuning import evaluate, tune
from genre_assets.models.tuning.fit import fit_temperature, songs_of

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtzan_features"
VOTE = "vote"
SEED = 20261
Answers = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Model:
    """A tuned, refitted and calibrated model, its cross-validated objective, and what its study cost in seconds."""

    cross_validation: float
    answers: Answers
    out_of_fold: NDArray[np.float64]
    study_cpu: float = 0.0
    study_wall: float = 0.0


def table(name: str) -> pd.DataFrame:
    """One of the public tables. Raises `BadInput` when they are not beside the checkout."""
    path = TABLES / f"{name}.parquet"
    if not path.is_file():
        raise BadInput(f"this benchmark needs the public feature tables in {TABLES}")
    return pd.read_parquet(path)


def labels_of(genres: pd.Series) -> NDArray[np.int64]:
    """Genres as indices."""
    return np.array([GENRES.index(genre) for genre in genres], dtype=np.int64)


def tuned_models(rows: Part, trials: Mapping[str, int], *, storage_url: str, name: str) -> dict[str, Model]:
    """Every family, tuned by grouped cross-validation of these rows alone, and their vote, calibrated as it is released."""
    made: dict[str, Model] = {}
    for family in FAMILIES.values():
        cpu, wall = time.process_time(), time.perf_counter()
        found = tune.search(
            family,
            rows,
            storage_url=storage_url,
            data_version=name,
            budget=tune.Budget(trials[family.name], 3600),
            seed=SEED,
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        raw = tune.out_of_fold(family, found.params, rows, SEED)
        model = _model(rows, raw, family.fit(found.params, rows, SEED).probabilities)
        made[family.name] = replace(model, study_cpu=cpu, study_wall=wall)
    members = list(made.values())
    together = np.mean([m.out_of_fold for m in members], axis=0)
    made[VOTE] = _model(rows, together, lambda features: np.mean([m.answers(features) for m in members], axis=0))
    return made


def chosen(models: Mapping[str, Model]) -> str:
    """The name of the one with the best cross-validation: how the first champion is chosen."""
    return max(models, key=lambda name: models[name].cross_validation)


def _model(rows: Part, raw: NDArray[np.float64], answers: Answers) -> Model:
    """Calibrated as `fit.finish` does: one temperature, fitted on out-of-fold answers that are grouped as the rows are."""
    temperature = fit_temperature(raw, rows)
    out_of_fold = temper(raw, temperature)
    songs = songs_of(rows, out_of_fold)
    score = evaluate.objective(songs.truth, songs.predicted, len(GENRES))
    return Model(score, lambda features: temper(answers(features), temperature), out_of_fold)
