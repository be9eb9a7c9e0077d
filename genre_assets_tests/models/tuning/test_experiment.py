"""An experiment in MLflow: trials, data, papers, signature, no pickle; resumed, refused, and failed as it should."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.genres import GENRES
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.mlflow.tracking import TrialRecord
from genre_assets.models.onnx.graph import temper
from genre_assets.models.tuning import evaluate, experiment, fit
from genre_assets.settings import Settings
from genre_assets_tests.models.conftest import synthetic_training_set

FAMILY = FAMILIES["k_neighbors"]
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".skops")


@pytest.fixture
def training() -> TrainingSet:
    return synthetic_training_set(4)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow's own import of every flavour
def test_a_run_shows_its_trials_data_parameters_card_and_signature(
    registry: ModelRegistry, small: Settings, training: TrainingSet, tmp_path: Path
) -> None:
    outcome = experiment.obtain(FAMILY, training, small, registry)
    run_id, client = outcome.version.run_id, registry._client
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.note.content"].startswith("# k_neighbors")
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("training_set", training.manifest.version)
    assert json.loads(data.dataset.source) == {"uri": f"s3://{small.features_bucket}/training_set/part.parquet"}
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    assert len(children) == small.trials_k_neighbors
    assert {"k", "metric", "space"} <= set(children[0].data.params)

    report = registry.artifact(run_id, experiment.PLOTS, tmp_path / "report")
    assert {"model_card.md", "confusion_validation.png", "reliability.png", "study.png"} <= {
        p.name for p in report.iterdir()
    }
    assert isinstance(json.loads((report / "parameters.json").read_text())["k"], int)

    loaded = mlflow.pyfunc.load_model(str(registry.artifact(run_id, "model", tmp_path / "model")))
    assert loaded.metadata.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 37)
    rows = training.part("validation").features
    answers = loaded.predict({"features": rows})["probabilities"]
    assert np.asarray(answers).shape == (len(rows), 10)


def test_a_model_is_calibrated_no_other_temperature_fits_its_out_of_fold_answers_better(
    registry: ModelRegistry, small: Settings, tmp_path: Path
) -> None:
    data = synthetic_training_set(8, difficulty=3.0)
    outcome = experiment.obtain(FAMILY, data, small, registry)
    known = experiment.reference_of(registry, outcome.version, tmp_path / "reference")
    answers, rows = known[[f"prob_{genre}" for genre in GENRES]].to_numpy(float), data.part("train")

    def loss(further: float) -> float:
        return float(evaluate.evaluate(fit.songs_of(rows, temper(answers, further)), GENRES).metrics["log_loss"].value)

    uncalibrated = 1 / outcome.version.metrics["temperature"]
    assert loss(1.0) < loss(uncalibrated) - 0.05
    assert loss(1.0) <= min(loss(0.8), loss(1.25)) + 1e-3


def test_no_artifact_is_a_pickle(
    registry: ModelRegistry, small: Settings, training: TrainingSet, tmp_path: Path
) -> None:
    experiment.obtain(FAMILY, training, small, registry)
    written = [p for p in (tmp_path / "artifacts").rglob("*") if p.is_file()]
    assert any(p.name == "model.onnx" for p in written)
    for path in written:
        assert path.suffix not in PICKLES
        assert path.read_bytes()[:2] != b"\x80\x04", f"{path} starts like a pickle"
        assert "cloudpickle" not in path.read_text(errors="replace")


def test_the_vote_waits_for_every_family(registry: ModelRegistry, small: Settings, training: TrainingSet) -> None:
    experiment.obtain(FAMILY, training, small, registry)
    with pytest.raises(BadInput, match="materialise tuned_xgboost first"):
        experiment.obtain_vote(training, small, registry)


def test_a_model_whose_graph_answers_otherwise_is_not_registered_and_its_run_is_failed(
    registry: ModelRegistry, small: Settings, training: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "temper", lambda p, t: temper(p, t * 1.1))
    with pytest.raises(PermanentFailure, match="differs from its estimator"):
        experiment.obtain(FAMILY, training, small, registry)
    assert registry.versions() == []
    (run,) = registry._client.search_runs([registry._experiment()], "attributes.status = 'FAILED'")
    assert run.data.tags["family"] == "k_neighbors"


def test_an_experiment_that_fails_before_it_is_registered_completes_when_it_is_run_again(
    registry: ModelRegistry, small: Settings, training: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("the registry went away")

    with monkeypatch.context() as patched:
        patched.setattr(type(registry), "register", away)
        with pytest.raises(ConnectionError):
            experiment.obtain(FAMILY, training, small, registry)
    again = experiment.obtain(FAMILY, training, small, registry)
    assert not again.reused
    assert "4 trials (4 of them from an earlier attempt)" in again.card


def test_a_larger_budget_is_another_experiment(registry: ModelRegistry, small: Settings, training: TrainingSet) -> None:
    first = experiment.obtain(FAMILY, training, small, registry)
    more = experiment.obtain(FAMILY, training, small.model_copy(update={"trials_k_neighbors": 6}), registry)
    assert more.version.version == first.version.version + 1


def test_trials_are_logged_once(registry: ModelRegistry) -> None:
    run_id = registry.begin_run("k", {})
    trials = [TrialRecord(i, "COMPLETE", 0.5, {"k": i}, None, None) for i in range(3)]
    registry.log_trials(run_id, trials[:2])
    registry.log_trials(run_id, trials)
    found = registry._client.search_runs([registry._experiment()], f"tags.mlflow.parentRunId = '{run_id}'")
    assert sorted(run.data.tags["trial"] for run in found) == ["0", "1", "2"]
