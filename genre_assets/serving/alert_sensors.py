"""What tells people: alerts from checks, runs and the platform. Each sensor is a thin shell over `serving/alerts`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.serving.alerts import beats, listing, log_gauges, sources
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.alerts.sources import CheckEvaluation
from genre_assets.serving.drift import window_reports
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.promotion import retraining_requests, route_state
from genre_assets.settings import Settings
from genre_assets.store import store_for_a_tick
from genre_assets.triton.control import TritonControl

RUNNING = dg.DefaultSensorStatus.RUNNING
DRIFT_REPORTS = "drift_reports"
FINISHED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
HISTORY = 25  # evaluations of one check read in one tick


@dg.sensor(
    default_status=RUNNING,
    description="Opens an alert when a check fails, and resolves it when the check passes.",
)
def alert_on_checks(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> dg.SkipReason:
    """A failed check of any asset opens an alert, a passed one resolves it; each evaluation is read, in order."""
    storage = context.instance.event_log_storage
    seen: dict[str, int] = json.loads(context.cursor or "{}")
    keys = list(context.repository_def.asset_graph.asset_check_keys) if context.repository_def else []
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    for key in keys:
        name, record = _check_name(key), latest.get(key)
        if record is None or record.id <= seen.get(name, 0):
            continue
        records = storage.get_asset_check_execution_history(key, limit=HISTORY, status=FINISHED)
        history = [_evaluation(name, r, settings.dagster_link) for r in reversed(records)]
        seen[name] = sources.tell_checks(history, seen.get(name, 0), alerts)
    context.update_cursor(json.dumps(seen))
    return dg.SkipReason(f"{len(keys)} checks read")


@dg.run_failure_sensor(
    default_status=RUNNING,
    description="Opens an alert when a run of a job fails.",
)
def alert_on_failed_run(
    context: dg.RunFailureSensorContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> None:
    """A failed run opens an alert for its job."""
    run = context.dagster_run
    problem = context.failure_event.message or "see the run"
    sources.tell_run(run.job_name, run.run_id, settings.dagster_link, problem=problem, alerts=alerts)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    default_status=RUNNING,
    description="Resolves the alert of a job when a run of it succeeds.",
)
def resolve_on_succeeded_run(
    context: dg.RunStatusSensorContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> None:
    """A succeeded run resolves the alert for its job."""
    run = context.dagster_run
    sources.tell_run(run.job_name, run.run_id, settings.dagster_link, problem=None, alerts=alerts)


@dg.sensor(
    default_status=RUNNING,
    description="Opens and resolves alerts on Triton, the route, the prediction log, missing answers, windows that wait, and retraining; sends what is due.",
)
def alert_on_platform(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
    alerts: dg.ResourceParam[Alerts],
) -> dg.SkipReason:
    """Moves of the route, Triton, the log, other sensors, retraining; then every message that is due goes out."""
    cursor: dict[str, int] = json.loads(context.cursor or "{}")
    url = settings.dagster_link
    last = cursor.get("move", 0)
    moves = [m for m in reversed(audit.history(database, subject="route")) if m.id > last]
    sources.tell_moves(moves, alerts, url)
    looks = cursor.get("not_ready", 0)
    counts = {name: cursor.get(name, 0) for name in sources.COUNTERS}
    if route_state.standing(database).serving is not None:
        looks = sources.tell_triton(triton.ready(), looks, alerts, url)
        gauges = log_gauges.read(settings.triton_metrics)
        if gauges:
            counts = sources.tell_log(gauges, settings.spool_max_mb, counts, datetime.now(UTC), alerts, url)
        fresh, rules = window_reports.freshness(database), Rules.from_settings(settings)
        sources.tell_freshness(fresh, rules, datetime.now(UTC), alerts, url)
    request = retraining_requests.open_request(database)
    sources.tell_retraining(request.said(settings.retrain_min_new_clips) if request else None, alerts, url)
    ticks = _newest_ticks(context.instance)
    sources.tell_sensors({name: tick.failed_in_a_row for name, tick in ticks.items()}, alerts, url)
    beats.keep(database, ticks, now=datetime.now(UTC), channels=len(alerts.channels))
    context.update_cursor(json.dumps({"move": max([last, *(m.id for m in moves)]), "not_ready": looks, **counts}))
    delivered = alerts.deliver()
    channels = [] if alerts.channels else [listing.NO_CHANNEL]
    said = [listing.in_short(database), *channels, f"{delivered.sent} messages sent", *delivered.failed]
    return dg.SkipReason("; ".join(said))


@dg.sensor(
    default_status=RUNNING,
    description="Opens an alert when the raw bucket cannot be listed, and resolves it when it can.",
)
def alert_on_s3(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> dg.SkipReason:
    """A raw bucket that cannot be listed opens an alert. A sensor of its own: a hanging S3 holds up no other alert."""
    problem: Exception | None = None
    try:
        store = store_for_a_tick(settings)
        next(iter(store.list(settings.raw_bucket)), None)
    except (GenreError, FileNotFoundError) as error:
        problem = error
    failed = sources.tell_s3(problem, int(context.cursor or 0), settings.raw_bucket, alerts, settings.dagster_link)
    context.update_cursor(str(failed))
    return dg.SkipReason(f"s3://{settings.raw_bucket}: {problem or 'can be listed'}")


def _newest_ticks(instance: dg.DagsterInstance) -> dict[str, beats.Ticks]:
    """Each sensor that has run, with its newest tick, and how many of the newest (up to three) failed in a row."""
    found = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=4)
        if not ticks:
            continue
        ended = [tick.status for tick in ticks if tick.status is not TickStatus.STARTED][:3]
        failed = next((i for i, s in enumerate(ended) if s is not TickStatus.FAILURE), len(ended))
        found[state.instigator_name] = beats.Ticks(
            datetime.fromtimestamp(ticks[0].timestamp, UTC), failed, on=state.status is not InstigatorStatus.STOPPED
        )
    return found


def _check_name(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}:{key.name}"


def _evaluation(name: str, record: AssetCheckExecutionRecord, url: str) -> CheckEvaluation:
    """What people need of an evaluation; one that raised has no event of its own but failed all the same."""
    evaluation = record.evaluation
    asset, _, check = name.rpartition(":")
    links = {"check": f"{url}/assets/{asset}?view=checks&checkDetail={check}"}
    if record.run_id:  # a window's checks are reported by no run
        links["run"] = f"{url}/runs/{record.run_id}"
    if asset == DRIFT_REPORTS:
        links["report"] = f"{url}/assets/drift_pages"
    if evaluation is None:
        return CheckEvaluation(record.id, name, False, False, "the check itself failed", links)
    warning = evaluation.severity is dg.AssetCheckSeverity.WARN
    return CheckEvaluation(record.id, name, evaluation.passed, warning, evaluation.description or "", links)


SENSORS: Sequence[dg.SensorDefinition] = [
    alert_on_checks,
    alert_on_failed_run,
    resolve_on_succeeded_run,
    alert_on_platform,
    alert_on_s3,
]
