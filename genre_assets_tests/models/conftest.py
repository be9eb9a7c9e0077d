"""Fixtures of the models stage: synthetic features, small settings, and a registry over a file-based store."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.models.data import training
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.settings import Settings

COLUMNS = FEATURE_SETS["gtzan37"].columns
CUT = Cut(30.0, 30.0, "start", 1.0)


def synthetic_rows(
    clips: int = 4, *, segments: int = 3, genres: tuple[str, ...] = GENRES, seed: int = 0, difficulty: float = 1.0
) -> pd.DataFrame:
    """Rows as the features asset stores them: each genre a cloud, each recording a point, segments close around it."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(GENRES), len(COLUMNS)))
    rows = []
    for genre in genres:
        for clip in range(clips):
            song = centres[GENRES.index(genre)] + difficulty * random.normal(size=len(COLUMNS))
            name = f"{genre}-{seed}-{clip}"
            for segment in range(segments):
                features = song + 0.2 * random.normal(size=len(COLUMNS))
                identity = {
                    "key": f"{genre}/{name}.wav",
                    "fingerprint": f"f-{name}",
                    "recording": f"r-{name}",
                    "genre": genre,
                    "segment": segment,
                    "start_s": 10.0 * segment,
                    "seconds": 10.0,
                }
                rows.append(identity | dict(zip(COLUMNS, features.astype(np.float32), strict=True)))
    return pd.DataFrame(rows).astype(dict.fromkeys(COLUMNS, np.float32))


def synthetic_training_set(clips: int = 4, **options: object) -> training.TrainingSet:
    """The training set of such rows."""
    rows = synthetic_rows(clips, **options)  # type: ignore[arg-type]
    return training.build(rows, COLUMNS, feature_set="gtzan37", feature_set_version="test", cut=CUT, labels=GENRES)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without content: its migrations take seconds, a copy takes none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def registry(empty_mlflow: Path, tmp_path: Path, database: Database) -> ModelRegistry:
    """A registry of its own for each test; its audit goes to a real PostgreSQL."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_mlflow, path)
    return ModelRegistry(f"sqlite:///{path}", (tmp_path / "artifacts").as_uri(), database=database)


@pytest.fixture
def small(tmp_path: Path, s3_settings: Settings) -> Settings:
    """Settings with the smallest budget, a study store of its own and the test S3."""
    return s3_settings.model_copy(
        update={
            "feature_set": "gtzan37",
            "trials_xgboost": 2,
            "trials_random_forest": 2,
            "trials_k_neighbors": 4,
            "trials_linear": 2,
            "optuna_url": type(s3_settings.optuna_url)(f"sqlite:///{tmp_path / 'studies.db'}"),
        }
    )
