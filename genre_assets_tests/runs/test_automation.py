"""Checks that Dagster would show as "Not Evaluated" though they were: two runs of one moment, and a run that evaluated nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from genre_assets.runs.automation import report_hidden

KEY = dg.AssetCheckKey(dg.AssetKey("thing"), "is_well")


class Told(dg.Config):
    """What the check says."""

    passed: bool = True


@dg.asset
def thing() -> None:
    """Something."""


@dg.asset_check(asset=thing)
def is_well(config: Told) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=config.passed)


JOB = dg.Definitions(
    [thing], asset_checks=[is_well], jobs=[dg.define_asset_job("make")], executor=dg.in_process_executor
).resolve_job_def("make")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def created(instance: dg.DagsterInstance, *, passed: bool) -> dg.DagsterRun:
    """A run whose rows are planned, and which waits."""
    config = {"ops": {"thing_is_well": {"config": {"passed": passed}}}}
    return instance.create_run_for_job(JOB, run_config=config)


def shown(instance: dg.DagsterInstance) -> bool | None:
    """As the UI shows the check; None for Not Evaluated."""
    row = instance.event_log_storage.get_latest_asset_check_execution_by_key([KEY])[KEY]
    if row.status is AssetCheckExecutionRecordStatus.PLANNED or not asyncio.run(
        row.targets_latest_materialization(LoadingContextForTest(instance))
    ):
        return None
    assert row.evaluation is not None
    return row.evaluation.passed


def test_of_two_runs_created_together_the_one_executed_last_is_shown(instance: dg.DagsterInstance) -> None:
    older_rows, newer_rows = created(instance, passed=False), created(instance, passed=True)
    for run in (newer_rows, older_rows):
        execute_run(InMemoryJob(JOB), run, instance)
    assert shown(instance) is None
    assert report_hidden(instance, [KEY]) == ["thing: is_well"]
    assert shown(instance) is False
    assert report_hidden(instance, [KEY]) == [], "once"


def test_a_run_that_ended_without_its_checks_hides_nothing(instance: dg.DagsterInstance) -> None:
    execute_run(InMemoryJob(JOB), created(instance, passed=True), instance)
    failed = created(instance, passed=True)
    assert report_hidden(instance, [KEY]) == [], "it may still evaluate them"
    instance.report_run_failed(failed)
    assert shown(instance) is not True
    assert report_hidden(instance, [KEY]) == ["thing: is_well"]
    assert shown(instance) is True


def test_what_was_never_evaluated_for_the_latest_materialisation_stays_so(instance: dg.DagsterInstance) -> None:
    execute_run(InMemoryJob(JOB), created(instance, passed=True), instance)
    instance.report_runless_asset_event(dg.AssetMaterialization("thing"))
    assert report_hidden(instance, [KEY]) == []


def test_before_anything_happened_there_is_nothing_to_report(instance: dg.DagsterInstance) -> None:
    unknown: Any = report_hidden(instance, [KEY])
    assert unknown == []
