"""With few groups a genre, G-means of exactly 0 are likely: they must not decide. Through the asset `champion_models`."""

from typing import Any

import dagster as dg
import numpy as np

from genre_assets.genres import GENRES
from genre_assets.models.assets import champion_models
from genre_assets.models.checks import champion_beats_chance
from genre_assets.models.data import training, training_store
from genre_assets.models.data.split import TRAIN
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.mlflow.tracked_run import TrackedRun
from genre_assets.models.tuning import experiment, fit, tune
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import COLUMNS, CUT, synthetic_rows, synthetic_training_set
from genre_assets_tests.models.selection.test_champion import larger, no_pictures

__all__ = ["no_pictures"]  # a fixture that every test here uses
UPSTREAM = ["tuned_xgboost", "tuned_random_forest", "tuned_k_neighbors", "tuned_linear", "voting_model"]


def choose(registry: ModelRegistry, store: ObjectStore, settings: Settings, data: TrainingSet) -> dict[str, Any]:
    """Materialise the asset over a training set; returns what its page shows."""
    training_store.write(store, settings, data)
    resources = {"settings": settings, "store": store, "registry": registry, "mlflow": TrackedRun(registry)}
    everything: list[Any] = [*map(dg.AssetSpec, UPSTREAM), champion_models, champion_beats_chance]
    done = dg.materialize(everything, resources=resources)
    (event,) = done.asset_materializations_for_node("champion_models")
    (check,) = done.get_asset_check_evaluations()
    return {name: value.value for name, value in event.metadata.items()} | {"beats chance": check.passed}


def evidence(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of the table that tells why, by name."""
    return {str(record.data["name"]): dict(record.data) for record in shown["champion evidence"].records}


def register(
    registry: ModelRegistry, data: TrainingSet, family: str, rows: training.Part, wrong: dict[int, int] | None = None
) -> RegisteredVersion:
    """A model trained on `rows`; with `wrong` (label -> how many recordings) its out-of-fold answers are made up so."""
    made, all_rows = FAMILIES[family], data.part(TRAIN)
    raw = tune.out_of_fold(made, made.defaults, all_rows, 1)
    if wrong is not None:
        answered = all_rows.labels.copy()
        for label, count in wrong.items():
            names = np.unique(all_rows.recordings[all_rows.labels == label])[:count]
            answered[np.isin(all_rows.recordings, names)] = (label + 1) % 10
        raw = np.eye(10)[answered]
    found = tune.Search(family, made.defaults, 0.0, [], 0, 0.0)
    trained = fit.finish(family, found, made.fit(made.defaults, rows, 1), raw, data, seed=1)
    return experiment._run(family, f"{family}-{len(registry.versions())}", lambda: trained, data, registry, "b").version


def test_the_first_champion_is_not_the_least_accurate_of_models_whose_g_mean_is_0(
    registry: ModelRegistry, store: ObjectStore, small: Settings
) -> None:
    data = synthetic_training_set(4)
    rows = data.part(TRAIN)
    songs = min(len(np.unique(rows.recordings[rows.labels == label])) for label in range(10))
    register(registry, data, "linear", rows, wrong={0: songs, 1: 1, 2: 1, 3: 1, 4: 1})
    best = register(registry, data, "k_neighbors", rows, wrong={0: songs})
    assert best.metrics["cross_validation_g_mean"] == 0
    shown = choose(registry, store, small, data)
    assert shown["champion version"] == best.version
    assert evidence(shown)["cross_validation 1"]["g_mean"] == 0


def test_a_challenger_can_win_against_a_champion_whose_g_mean_is_0(
    registry: ModelRegistry, store: ObjectStore, small: Settings
) -> None:
    data = synthetic_training_set(8)
    rows = data.part(TRAIN)
    shuffled = np.random.default_rng(0).permutation(rows.labels)
    for family in ("linear", "k_neighbors"):
        register(
            registry, data, family, training.Part(rows.features, shuffled, rows.groups, rows.recordings, rows.classes)
        )
    before = choose(registry, store, small, data)["champion version"]
    rows = larger().part(TRAIN)
    for family in ("linear", "k_neighbors"):  # good, but it never says jazz: its G-mean is 0 too
        register(registry, larger(), family, rows.take(rows.labels != 5))
    shown = choose(registry, store, small, larger())
    gate = evidence(shown)
    challengers = [row for name, row in gate.items() if name.startswith("challengers ")]
    assert challengers
    assert all(row["g_mean"].startswith("0.000 [0.000") for row in (gate["champion"], *challengers))
    assert shown["champion version"] > before
    assert all("balanced_accuracy" in row and "objective" in row for row in challengers)


def test_chance_is_that_of_the_genres_that_a_model_was_trained_on(
    registry: ModelRegistry, store: ObjectStore, small: Settings
) -> None:
    data = synthetic_training_set(20, genres=("jazz", "rock"), difficulty=50.0)
    for family in ("linear", "k_neighbors"):
        guesses = register(registry, data, family, data.part(TRAIN))
        assert guesses.metrics["cross_validation_balanced_accuracy_low"] > 1 / 10
    assert not choose(registry, store, small, data)["beats chance"]


def test_the_study_and_the_asset_show_the_objective_under_one_name(
    registry: ModelRegistry, store: ObjectStore, small: Settings
) -> None:
    data = training.build(
        synthetic_rows(4, difficulty=6.0),
        COLUMNS,
        feature_set="gtzan37",
        feature_set_version="test",
        cut=CUT,
        labels=GENRES,
    )
    outcome = experiment.obtain(FAMILIES["k_neighbors"], data, small, registry)
    client = registry._client
    run = client.get_run(outcome.version.run_id)
    trials = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    best = max(t.data.metrics["objective"] for t in trials if t.data.metrics)
    assert run.data.metrics["cross_validation_g_mean"] == 0
    assert run.data.metrics["cross_validation_objective"] == best
    assert "| part | recordings | objective | g_mean |" in outcome.card
