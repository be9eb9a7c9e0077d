"""The drift assets over a real database and object store, without a daemon: fixtures and what is asked of a history."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest

from genre_assets.database import Database
from genre_assets.definitions import build_defs
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.serving import drift_checks
from genre_assets.serving.drift import report
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.control import TritonControl
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.serving.drift.data import START, reference_frame


@pytest.fixture
def settings(s3_settings: Settings) -> Settings:
    changed = {"window_size": 32, "window_minimum": 24, "min_dwell_seconds": 0.0, "window_max_seconds": 10**9}
    changed["window_oldest_seconds"] = 10**9
    return s3_settings.model_copy(update=changed)


@pytest.fixture
def platform(
    database: Database, store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Resources, with a reference and a first release; Evidently's page is replaced (its import takes seconds)."""
    monkeypatch.setattr(report, "evidently_page", lambda columns, *_: f"<html>{columns}</html>")
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    keep_ten(store, settings)
    route_state.confirm(database, "champion", actor="build", reason="first release")
    database.execute("UPDATE route_state SET decided_at = %s", (START,))
    silent = TritonControl("127.0.0.1:1")
    return {"database": database, "store": store, "settings": settings, "triton": silent}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One history for all runs of a test."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run_drift(platform: dict[str, Any], rows: Sequence[Row], instance: dg.DagsterInstance | None = None) -> Any:
    """The job `drift`, as the daemon launches it."""
    request_log.insert(platform["database"], rows)
    job = definitions(platform).resolve_job_def("drift")
    with contextlib.ExitStack() as stack:
        history = instance or stack.enter_context(dg.DagsterInstance.ephemeral())
        return job.execute_in_process(instance=history, raise_on_error=True)


def definitions(platform: dict[str, Any]) -> dg.Definitions:
    return build_defs(platform["settings"], {**platform, "triton": platform["triton"]})


def checks(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """What the asset's page shows of each check: the latest execution, if it is of the latest materialisation."""
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key([spec.key for spec in drift_checks.SPECS])
    context = LoadingContextForTest(instance)
    shown = {key.name: record for key, record in latest.items()}
    assert all(asyncio.run(record.targets_latest_materialization(context)) for record in shown.values())
    return {name: record.evaluation for name, record in shown.items() if record.evaluation is not None}


def materialised(instance: dg.DagsterInstance, asset: str = "drift_reports") -> list[dg.AssetMaterialization]:
    """The newest first."""
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=20).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def metadata(instance: dg.DagsterInstance, asset: str = "drift_reports") -> dict[str, Any]:
    return {name: value.value for name, value in materialised(instance, asset)[0].metadata.items()}


def observed(result: Any) -> dict[str, Any]:
    """What a run says of itself."""
    (event,) = (e for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION")
    return {name: value.value for name, value in event.asset_observation_data.asset_observation.metadata.items()}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run's own code follows it."""


def tick(sensor: Any, platform: dict[str, Any], instance: dg.DagsterInstance) -> Any:
    context = dg.build_sensor_context(instance=instance, resources=platform)
    return sensor(context)
