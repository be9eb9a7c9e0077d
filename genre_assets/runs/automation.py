"""Automation of the platform itself, beside the stages' own sensors: lost runs, checks that read grey, freshness.

Dagster's run monitoring cannot see the processes of its default launcher. A sensor can: it is evaluated in the code
server, which starts the runs' processes, so both see the same processes, in a container as well.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from genre_assets.runs.run_processes import Worker, lost, resume_stopped
from genre_assets.settings import Settings

IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
SECONDS = 10
HISTORY = 25  # rows of one check that are looked through
SHORTEST = timedelta(minutes=2)  # of a window of freshness; Dagster looks every half minute
_PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")


def freshness(settings: Settings) -> dict[str, dg.FreshnessPolicy]:
    """How old what an asset shows may be, by the asset's name: of those only that must be made again as time goes by.

    Traffic closes a window within GENRE_WINDOW_OLDEST_SECONDS; without a window for longer, nobody knows whether the model
    still fits. Models have an age only where GENRE_RETRAIN_EVERY_HOURS gives them one. Twice as old is a failure.
    """
    wanted = dict.fromkeys(("served_requests", "drift_reports"), timedelta(seconds=settings.window_oldest_seconds))
    if settings.retrain_every_hours:
        wanted |= dict.fromkeys(("training_set", "champion_models"), timedelta(hours=settings.retrain_every_hours))
    ages = {name: max(age, SHORTEST) for name, age in wanted.items()}
    return {name: dg.FreshnessPolicy.time_window(fail_window=2 * age, warn_window=age) for name, age in ages.items()}


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """The runs that are queued, start, or are under way: what a sensor asks for may be on its way already."""
    return instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run that is said to be in progress and has no process is ended as failed, so that its slot is free "
    "and its work is asked for again; a process that was stopped goes on.",
)
def runs_without_process(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Runs whose process was killed, by a power cut, with its code server, or alone."""
    instance = context.instance
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return dg.SkipReason("runs have containers of their own, which their launcher watches")
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))}
    workers = list(_workers(instance, runs))
    resumed = resume_stopped(workers)
    ended = []
    for worker in lost(workers):
        run = instance.get_run_by_id(worker.run_id)
        if run is None or run.is_finished:  # it ended between the two looks
            continue
        said = f"The process of this run ({worker.pid}) is gone, and it did not say how it ended."
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, said)
        else:
            instance.report_run_failed(run, said)
        ended.append(f"{run.job_name} {run.run_id[:8]}")
    parts = [f"{len(workers)} runs have a process"]
    parts += [f"ended: {', '.join(ended)}"] if ended else []
    parts += [f"resumed: {', '.join(w.run_id[:8] for w in resumed)}"] if resumed else []
    return dg.SkipReason("; ".join(parts))


def _workers(instance: dg.DagsterInstance, runs: Mapping[str, dg.DagsterRun]) -> Iterable[Worker]:
    """The processes that the runs say they have; a run that has none yet is left to the start timeout."""
    for run_id in runs:
        for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            named = _PROCESS.search(event.message or event.user_message or "")
            if named:
                yield Worker(run_id, int(named.group(1)), event.timestamp)


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description='A check that was evaluated for the asset\'s latest materialisation and would read "Not Evaluated" is '
    "reported again as it was.",
)
def checks_that_read_grey(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Dagster shows the check's row that was made last, and makes rows when a run is created, not when it is executed.

    So of two runs that are created in one moment, the one that is executed last may have the older rows, and a run that
    was created and never evaluated its checks hides those of the run before.
    """
    graph = context.repository_def.asset_graph if context.repository_def else None
    keys = list(graph.asset_check_keys) if graph else []
    return dg.SkipReason(f"reported again: {', '.join(report_hidden(context.instance, keys)) or 'none'}")


def report_hidden(instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]) -> list[str]:
    """Report the checks again whose evaluation for the latest materialisation is not the newest row; returns them."""
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    assets = {record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(
        list({key.asset_key for key in latest})
    )}  # fmt: skip
    told = []
    for key, row in latest.items():
        asset = assets.get(key.asset_key)
        made = asset.last_materialization_record if asset else None
        if made is None or _is_of(row, made) or not _is_over(instance, row):
            continue
        history = storage.get_asset_check_execution_history(key, limit=HISTORY)
        hidden = next((found for r in history if (found := _evaluated(r)) and _is_of(r, made)), None)
        if hidden is not None:
            instance.report_runless_asset_event(_again(hidden, made))
            told.append(f"{key.asset_key.to_user_string()}: {key.name}")
    return told


def _evaluated(row: AssetCheckExecutionRecord) -> dg.AssetCheckEvaluation | None:
    """What the check said; None of a row that is only planned."""
    found: object = row.evaluation
    return found if isinstance(found, dg.AssetCheckEvaluation) else None


def _again(said: dg.AssetCheckEvaluation, made: dg.EventLogRecord) -> dg.AssetCheckEvaluation:
    """The same evaluation, of a materialisation that it names."""
    return dg.AssetCheckEvaluation(
        asset_key=said.asset_key,
        check_name=said.check_name,
        passed=said.passed,
        metadata=said.metadata,
        severity=said.severity,
        description=said.description,
        blocking=said.blocking,
        partition=said.partition,
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=made.storage_id, run_id=made.run_id, timestamp=made.timestamp
        ),
    )


def _is_of(row: AssetCheckExecutionRecord, made: dg.EventLogRecord) -> bool:
    """Whether a check's row is of the materialisation, or of the run that made it."""
    found = _evaluated(row)
    target = found.target_materialization_data if found else None
    return row.run_id == made.run_id or (target is not None and target.storage_id == made.storage_id)


def _is_over(instance: dg.DagsterInstance, row: AssetCheckExecutionRecord) -> bool:
    """Whether nothing more is to be expected of the row: its check was evaluated, or its run has ended."""
    if row.status is not AssetCheckExecutionRecordStatus.PLANNED:
        return True
    run = instance.get_run_by_id(row.run_id)
    return run is None or run.is_finished


SENSORS = [runs_without_process, checks_that_read_grey]
