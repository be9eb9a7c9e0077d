"""A run of a tracked job is one run of MLflow, with its experiments below it, ended by dagster-mlflow's hook."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import mlflow
import pytest
from mlflow.entities import Run

from genre_assets.definitions import build_defs
from genre_assets.models.assets import ASSETS, WHOLE_RUN
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.tuning import fit
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import synthetic_rows
from genre_assets_tests.models.test_assets import CANDIDATES, put_features

STAGE = [key for asset in ASSETS for key in asset.keys]
MLFLOW_URL = "http://mlflow.example"


@pytest.fixture(autouse=True)
def _leave_nothing_in_mlflow() -> Iterator[None]:
    """Its functions keep the store and the run in the process: a run of Dagster has a process of its own."""
    yield
    mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def ready(store: ObjectStore, small: Settings, registry: ModelRegistry) -> dict[str, Any]:
    """Resources over features that are there."""
    registry.server_url = MLFLOW_URL
    put_features(store, small, synthetic_rows())
    return {"settings": small, "store": store, "registry": registry}


def launch(
    job: str, resources: dict[str, Any], instance: dg.DagsterInstance, keys: list[dg.AssetKey] = STAGE
) -> dg.ExecuteInProcessResult:
    """The models' part of a job of the platform, with all that belongs to the job."""
    defs = build_defs(resources["settings"], resources)
    found = defs.resolve_job_def(job)
    return found.execute_in_process(asset_selection=keys, instance=instance, raise_on_error=False)


def whole_runs(registry: ModelRegistry) -> list[Run]:
    found = registry._client.search_runs([registry._experiment()], "tags.dagster_run_id LIKE '%'")
    return sorted(found, key=lambda run: int(run.info.start_time))


def below(registry: ModelRegistry, run: Run) -> list[Run]:
    query = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
    return list(registry._client.search_runs([registry._experiment()], query))


@pytest.mark.parametrize("job", ["build", pytest.param("retrain", marks=pytest.mark.long)])
def test_a_run_of_the_job_is_one_run_of_mlflow_with_its_experiments_below_it(
    job: str, ready: dict[str, Any], registry: ModelRegistry
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = launch(job, ready, instance)
        assert result.success
        dagster_tags = instance.get_run_by_id(result.run_id).tags  # type: ignore[union-attr]
        again = launch(job, ready, instance)
        assert again.success
    first, second = whole_runs(registry)
    assert (first.info.status, second.info.status) == ("FINISHED", "FINISHED")
    assert (first.data.tags["dagster_run_id"], second.data.tags["dagster_run_id"]) == (result.run_id, again.run_id)

    # Dagster's run is linked to, and links back.
    address = f"{ready['settings'].dagster_url}/runs/{result.run_id}"
    assert first.data.tags["dagster_run"] == address
    assert f"({address})" in first.data.tags["mlflow.note.content"]
    link = registry.run_link(first.info.run_id)
    assert dagster_tags["mlflow/run"] == link
    for asset in ("tuned_xgboost", "voting_model", "champion_models"):
        (event,) = result.asset_materializations_for_node(asset)
        assert event.metadata[WHOLE_RUN].value == link

    # What was trained is below the first; the second, which took all of it over, links to it.
    trained = {v.run_id: v for v in registry.versions()}
    assert {run.info.run_id for run in below(registry, first)} == set(trained)
    assert len(trained) == CANDIDATES
    assert below(registry, second) == []
    for version in trained.values():
        assert first.data.tags[f"trained.{version.family}"] == version.run_id
        assert second.data.tags[f"reused.{version.family}"] == version.run_id
        assert f"({registry.run_link(version.run_id)})" in second.data.tags["mlflow.note.content"]


def test_a_step_that_fails_ends_it_as_failed_and_the_next_run_takes_up_what_it_left(
    ready: dict[str, Any], registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance, monkeypatch.context() as patched:
        patched.setattr(fit, "train", lambda *_, **__: 1 / 0)
        result = launch("retrain", ready, instance)
    assert not result.success
    (run,) = whole_runs(registry)
    assert run.info.status == "FAILED"
    assert {child.info.status for child in below(registry, run)} == {"FAILED"}


def test_a_run_that_is_broken_off_does_not_stay_open(
    ready: dict[str, Any], registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "train", cancelled)
    with dg.DagsterInstance.ephemeral() as instance:
        assert not launch("retrain", ready, instance).success
    (run,) = whole_runs(registry)
    assert run.info.status == "KILLED"


def test_what_a_killed_run_left_open_is_ended_by_the_next(ready: dict[str, Any], registry: ModelRegistry) -> None:
    client = registry._client
    killed, going = (
        client.create_run(registry._experiment(), tags={"dagster_run_id": name}).info.run_id
        for name in ("of a killed run", "of one that goes on")
    )
    registry.end_abandoned(lambda run_id: run_id == "of a killed run")
    assert [client.get_run(run_id).info.status for run_id in (killed, going)] == ["FAILED", "RUNNING"]
    with dg.DagsterInstance.ephemeral() as instance:  # which knows neither
        assert launch("retrain", ready, instance, [dg.AssetKey("training_set"), dg.AssetKey("tuned_linear")]).success
    assert client.get_run(going).info.status == "FAILED"


def test_a_run_of_another_job_is_none_of_mlflows(ready: dict[str, Any], registry: ModelRegistry) -> None:
    result = dg.materialize(
        [dg.AssetSpec("features"), *ASSETS],
        selection=[dg.AssetKey("training_set"), dg.AssetKey("tuned_linear")],
        resources={**ready, "mlflow": build_defs(ready["settings"]).resources["mlflow"]},  # type: ignore[index]
    )
    assert result.success
    assert whole_runs(registry) == []
    (event,) = result.asset_materializations_for_node("tuned_linear")
    assert WHOLE_RUN not in event.metadata
