"""The stage as Dagster runs it: over a real S3 and a real database, on synthetic features."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from genre_assets import audit, keys, labels
from genre_assets.audio.decoding.cut import Cut
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.assets import ASSETS
from genre_assets.models.checks import CHECKS
from genre_assets.models.data import training_store
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.mlflow.tracked_run import TrackedRun
from genre_assets.models.onnx.portable import load_model
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import synthetic_rows, synthetic_training_set

CANDIDATES = len(FAMILIES) + 1  # and the vote


def put_features(store: ObjectStore, settings: Settings, rows: pd.DataFrame) -> None:
    labels.keep(store, settings, labels.of_names(GENRES))
    for genre, part in rows.groupby("genre"):
        key = f"features/{settings.feature_set}/genre={genre}/part.parquet"
        store.write_parquet(settings.features_bucket, key, part)


def build(store: ObjectStore, settings: Settings, registry: ModelRegistry, **options: Any) -> dg.ExecuteInProcessResult:
    resources = {"settings": settings, "store": store, "registry": registry, "mlflow": TrackedRun(registry)}
    features = dg.AssetSpec("features")
    return dg.materialize([features, *ASSETS, *CHECKS], resources=resources, **options)


def figures(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_features_become_a_champion_a_fallback_and_a_reference(
    store: ObjectStore, small: Settings, registry: ModelRegistry, database: Database, tmp_path: Path
) -> None:
    put_features(store, small, synthetic_rows())
    first = build(store, small, registry)
    assert first.success
    champion, fallback = registry.version("champion"), registry.version("fallback")
    assert champion is not None
    assert fallback is not None
    assert champion.family != fallback.family
    assert {move.subject for move in audit.history(database)} == {"champion", "fallback"}

    model = load_model(registry.download(champion.version, tmp_path / "champion"))
    assert model.manifest.version == champion.version
    reference = store.read_parquet(small.serving_bucket, f"reference/version={champion.version}/part.parquet")
    answers = model.probabilities(reference[list(model.manifest.columns)].to_numpy(np.float32))
    assert answers.shape == (len(reference), len(GENRES))
    assert {"genre", "predicted", "recording", "prob_blues"} <= set(reference.columns)
    assert set(reference["feature_set_version"]) == {model.manifest.feature_set_version}
    assert model.manifest.cut == Cut.from_settings(small)

    # The same data again: every model is taken over, nothing is registered, no alias moves.
    again = build(store, small, registry)
    assert figures(again, "tuned_xgboost")["reused"] is True
    assert len(registry.versions()) == CANDIDATES
    assert len(audit.history(database)) == 2
    assert figures(again, "champion_models")["champion changed"] is False

    # New data: new versions, and the fallback follows it whether or not the champion stays.
    put_features(store, small, pd.concat([synthetic_rows(), synthetic_rows(2, seed=1)]))
    build(store, small, registry)
    refreshed = registry.version("fallback")
    assert len(registry.versions()) == 2 * CANDIDATES
    assert refreshed is not None
    assert refreshed.version > CANDIDATES


def test_an_empty_bucket_says_what_to_do(store: ObjectStore, small: Settings, registry: ModelRegistry) -> None:
    result = build(store, small, registry, raise_on_error=False)
    assert not result.success
    assert "put audio into" in str(result.failure_data_for_node("training_set"))


def test_leaking_rows_stop_the_run_before_anything_is_tuned(
    store: ObjectStore, small: Settings, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_features(store, small, synthetic_rows())
    monkeypatch.setattr(
        "genre_assets.models.data.split.assign_splits",
        lambda groups, *_: ["train" if i % 2 else "validation" for i in range(len(groups))],
    )
    result = build(store, small, registry, raise_on_error=False)
    assert not result.success
    failed = [c for c in result.get_asset_check_evaluations() if not c.passed]
    assert "nothing_leaks_across_splits" in {c.check_name for c in failed}
    assert registry.versions() == []


def test_a_changed_training_set_is_not_read(store: ObjectStore, small: Settings) -> None:
    made = synthetic_training_set()
    training_store.write(store, small, made)
    frame = made.frame.copy()
    frame.loc[0, "genre"] = "rock"
    store.write_parquet(small.features_bucket, keys.TRAINING_SET, frame)
    with pytest.raises(BadInput, match="materialise training_set again"):
        training_store.read(store, small)
