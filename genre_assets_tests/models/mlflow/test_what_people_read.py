"""Names, descriptions and states as MLflow's pages show them, from a real MLflow store."""

import json

from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import NAME, ModelRegistry
from genre_assets.models.mlflow.tracking import TrialRecord
from genre_assets.models.tuning import experiment
from genre_assets.settings import Settings
from genre_assets_tests.models.conftest import synthetic_training_set


def test_an_experiment_has_a_name_that_reads_and_its_version_says_what_it_is(
    registry: ModelRegistry, small: Settings
) -> None:
    training = synthetic_training_set()
    made = experiment.obtain(FAMILIES["k_neighbors"], training, small, registry)
    run = registry._client.get_run(made.version.run_id)
    assert run.info.run_name == f"k_neighbors, 4 trials, data {training.manifest.version[:6]}"
    version = registry._client.get_model_version(NAME, str(made.version.version))
    assert version.description.startswith(f"{run.info.run_name}: balanced accuracy ")
    assert "[" in version.description
    assert "champion" in registry._client.get_registered_model(NAME).description

    # The tab "Models" of the experiment shows it with its figures, and the version page leads to it.
    client, experiment_id = registry._client, registry._experiment()
    (logged,) = client.search_logged_models([experiment_id])
    assert (logged.name, str(logged.status), logged.source_run_id) == ("k_neighbors", "READY", run.info.run_id)
    (linked,) = json.loads(logged.tags["mlflow.modelVersions"])
    assert linked == {"name": NAME, "version": str(made.version.version)}
    assert [one.model_id for one in run.outputs.model_outputs] == [logged.model_id]
    shown = {metric.key: metric.value for metric in logged.metrics}
    assert shown["cross_validation_balanced_accuracy"] == made.version.metrics["cross_validation_balanced_accuracy"]
    assert {item.path for item in client.list_logged_model_artifacts(logged.model_id)} >= {"MLmodel", "model.onnx"}

    # Intervals are tags, no charts of their own; a choice reads them as before.
    assert not [name for name in (*shown, *run.data.metrics) if name.endswith(("_low", "_high"))]
    low, high = json.loads(run.data.tags["cross_validation_balanced_accuracy.interval"])
    assert (low, high) == tuple(
        made.version.metrics[f"cross_validation_balanced_accuracy_{end}"] for end in ("low", "high")
    )
    value = made.version.metrics["cross_validation_balanced_accuracy"]
    for tags in (version.tags, logged.tags):
        assert tags["cross_validation_balanced_accuracy"] == f"{value:.2f} [{low:.2f}, {high:.2f}]"


def test_a_pruned_trial_is_no_failure_and_a_failed_one_is(registry: ModelRegistry) -> None:
    run_id = registry.begin_run("k", {})
    states = ("COMPLETE", "PRUNED", "FAIL")
    registry.log_trials(run_id, [TrialRecord(i, state, None, {"k": i}, None, None) for i, state in enumerate(states)])
    found = registry._client.search_runs([registry._experiment()], f"tags.mlflow.parentRunId = '{run_id}'")
    shown = {run.info.run_name: (run.info.status, run.data.tags["state"]) for run in found}
    assert shown == {
        "trial 0": ("FINISHED", "complete"), "trial 1, pruned": ("FINISHED", "pruned"), "trial 2": ("FAILED", "fail"),
    }  # fmt: skip
