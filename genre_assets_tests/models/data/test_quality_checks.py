"""Each property of the training set that an asset check states holds for sound data, and fails for data that breaks it."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genre_assets.checks import CheckFinding
from genre_assets.models.data import quality
from genre_assets.models.data.training import TrainingSet
from genre_assets_tests.models.conftest import synthetic_training_set

PACKAGE = Path(quality.__file__).resolve().parents[2]


def changed(change: Callable[[pd.DataFrame], object]) -> TrainingSet:
    made = synthetic_training_set(8)
    frame = made.frame.copy()
    change(frame)
    return dataclasses.replace(made, frame=frame)


def put(frame: pd.DataFrame, column: str, value: object, rows: object = slice(None)) -> None:
    frame.loc[rows, column] = value  # type: ignore[call-overload]


BREAKAGES: list[tuple[Callable[[TrainingSet], CheckFinding], Callable[[pd.DataFrame], object], str]] = [
    (quality.no_leakage, lambda f: put(f, "split", "train" if f["split"][0] != "train" else "test", 0), "splits"),
    (quality.feature_schema, lambda f: f.pop("beat_track"), "missing"),
    (quality.feature_schema, lambda f: put(f, "beat_track", np.nan, 3), "not finite"),
    (quality.feature_schema, lambda f: f.insert(0, "beat_track", f.pop("beat_track").astype(float)), "not 32-bit"),
    (quality.class_balance, lambda f: f.drop(f.index[(f["genre"] == "rock") & ~f["key"].str.contains("-0-0")], inplace=True), "rock has 1"),
    (quality.every_genre_in_every_part, lambda f: put(f, "split", "train", f["genre"] == "jazz"), "jazz: nothing held out"),
    (quality.every_genre_in_every_part, lambda f: put(f, "split", "test", f["genre"] == "jazz"), "jazz: nothing to train on"),
    (quality.constant_columns, lambda f: put(f, "beat_track", np.float32(1)), "constant: beat_track"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "change", "said"), BREAKAGES)
def test_a_check_passes_on_sound_data_and_fails_on_what_it_guards_against(
    check: Callable[[TrainingSet], CheckFinding], change: Callable[[pd.DataFrame], object], said: str
) -> None:
    assert check(synthetic_training_set(8)).passed
    finding = check(changed(change))
    assert not finding.passed
    assert said in finding.summary
    assert finding.facts


def test_no_source_of_the_platform_pickles() -> None:
    words = (
        "import pickle",
        "from pickle",
        "import joblib",
        "from joblib",
        "cloudpickle",
        "import dill",
        "import shelve",
    )
    root = PACKAGE.parent
    sources = [p for folder in ("genre_assets", "triton_models", "benchmarks") for p in (root / folder).rglob("*.py")]
    assert len(sources) > 50
    found = [f"{path}: {word}" for path in sources for word in words if word in path.read_text()]
    assert found == []


def test_a_server_loads_models_without_training_libraries() -> None:
    heavy = ["pandas", "sklearn", "xgboost", "mlflow", "optuna", "dagster", "scipy"]
    code = f"import sys, genre_assets.models.onnx.portable; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
