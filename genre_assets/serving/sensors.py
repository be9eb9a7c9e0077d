"""What sets drift, promotion and alerts going. Each sensor is a thin shell over a pure or a database function."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.tags import PRIORITY_TAG

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import GenreError, TransientFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving import clients_audio
from genre_assets.serving.alerts import listing, log_gauges, sources
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.alerts.sources import CheckEvaluation
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.feedback import labels, training_clips
from genre_assets.serving.promotion import retraining_requests, route_state
from genre_assets.serving.promotion.run_requests import Attempt, next_run
from genre_assets.serving.promotion.state import Rules as PromotionRules
from genre_assets.serving.rollout import reconciliation
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.control import TritonControl

RUNNING = dg.DefaultSensorStatus.RUNNING
DRIFT_REPORTS = "drift_reports"
PURPOSE = "genre/purpose"  # tag of the runs that these sensors ask for
FINISHED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
HISTORY = 25  # evaluations of one check read in one tick


@dg.sensor(job_name="drift", default_status=RUNNING)
def new_drift_window(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], database: dg.ResourceParam[Database]
) -> dg.RunRequest | dg.SkipReason:
    """A window of answered items is complete, or waits for its verdict: run the job drift."""
    window = window_store.due(database, Rules.from_settings(settings))
    if window is None:
        return dg.SkipReason("no window is complete")
    return _request(context, f"drift-{window}")


@dg.sensor(job_name="drift", default_status=RUNNING)
def new_labels(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> dg.RunRequest | dg.SkipReason:
    """Label files are new or changed, or labelled clips are not copied to the end: run the job drift, which takes them."""
    try:
        files = labels.waiting(database, store, settings)
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"the label files cannot be listed: {error}")
    if files is not None:
        return _request(context, f"labels-{files}")
    if training_clips.interrupted(database):
        return _request(context, "labels-interrupted")
    return dg.SkipReason("no label file is new")


@dg.sensor(job_name="drift_page", default_status=RUNNING)
def drift_page_due(
    context: dg.SensorEvaluationContext, database: dg.ResourceParam[Database]
) -> dg.RunRequest | dg.SkipReason:
    """The newest window has no page yet: draw it, when nothing else is to be done."""
    newest = window_store.newest_one(database)
    if newest is None or newest.report is not None:
        return dg.SkipReason("the newest window has its page" if newest else "no window is judged yet")
    config = {"ops": {"drift_pages": {"config": {"window": newest.window.id}}}}
    return _request(context, f"page-{newest.window.id}", config, {PRIORITY_TAG: "-1"})


@dg.sensor(job_name="promote", default_status=RUNNING)
def promotion_due(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.RunRequest | dg.SkipReason:
    """Failed (or again passing) drift checks call for another route: run the job promote.

    It decides from the rows that the check `feature_drift` states, so that a verdict whose run died later counts too.
    Without a move that is due, files and Triton are made equal to the books if a kill or a restart left them apart.
    """
    fallback = ModelRepository(settings.repository).has_fallback
    standing, decision = route_state.advance(database, PromotionRules.from_settings(settings), fallback=fallback)
    move = standing.due
    if move is None:
        booked = standing.serving.route if standing.serving else None
        if request := _reconcile(context, settings, triton, booked):
            return request
        return dg.SkipReason(decision.reason if decision else "nothing is released yet")
    config = {
        "route": move.route, "reason": move.reason, "actor": move.actor, "evidence": move.evidence,
        "pinned": move.pinned,  # a person's, whose run was killed
    }  # fmt: skip
    return _request(context, f"move-{move.id}", {"ops": {"live_ensemble": {"config": config}}})


def _reconcile(
    context: dg.SensorEvaluationContext, settings: Settings, triton: TritonControl, route: str | None
) -> dg.RunRequest | dg.SkipReason | None:
    """A run that makes files and Triton equal to the books, if they have been apart for some seconds."""
    try:
        apart = reconciliation.difference(reconciliation.observe(route, ModelRepository(settings.repository), triton))
    except TransientFailure:
        return None  # the supervisor restarts a server that is away
    now = datetime.now(UTC).timestamp()
    since = float(context.cursor or 0.0)
    if apart is None:
        if since:
            context.update_cursor("")
        return None
    if not since:
        context.update_cursor(str(now))
        since = now
    if now - since < reconciliation.SETTLING_SECONDS:
        return dg.SkipReason(f"{apart}; looked at again in a moment")
    config = {"route": route or "keep", "reason": apart, "actor": "reconciliation"}
    return _request(context, f"reconcile-{since:.0f}", {"ops": {"live_ensemble": {"config": config}}})


@dg.sensor(default_status=RUNNING)
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


@dg.run_failure_sensor(default_status=RUNNING)
def alert_on_failed_run(
    context: dg.RunFailureSensorContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> None:
    """A failed run opens an alert for its job."""
    run = context.dagster_run
    problem = context.failure_event.message or "see the run"
    sources.tell_run(run.job_name, run.run_id, settings.dagster_link, problem=problem, alerts=alerts)


@dg.run_status_sensor(run_status=dg.DagsterRunStatus.SUCCESS, default_status=RUNNING)
def resolve_on_succeeded_run(
    context: dg.RunStatusSensorContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> None:
    """A succeeded run resolves the alert for its job."""
    run = context.dagster_run
    sources.tell_run(run.job_name, run.run_id, settings.dagster_link, problem=None, alerts=alerts)


@dg.sensor(default_status=RUNNING)
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
    counts = {name: cursor.get(name, 0) for name in ("dropped", "set_aside", "unsealed")}
    if route_state.standing(database).serving is not None:
        looks = sources.tell_triton(triton.ready(), looks, alerts, url)
        gauges = log_gauges.read(settings.triton_metrics)
        if gauges:
            counts = sources.tell_log(gauges, settings.spool_max_mb, counts, datetime.now(UTC), alerts)
        fresh, rules = window_reports.freshness(database), Rules.from_settings(settings)
        sources.tell_freshness(fresh, rules, datetime.now(UTC), alerts, url)
    request = retraining_requests.open_request(database)
    sources.tell_retraining(request.said(settings.retrain_min_new_clips) if request else None, alerts, url)
    sources.tell_sensors(_failing_ticks(context.instance), alerts, url)
    context.update_cursor(json.dumps({"move": max([last, *(m.id for m in moves)]), "not_ready": looks, **counts}))
    delivered = alerts.deliver()
    channels = [] if alerts.channels else [listing.NO_CHANNEL]
    said = [listing.in_short(database), *channels, f"{delivered.sent} messages sent", *delivered.failed]
    return dg.SkipReason("; ".join(said))


@dg.sensor(default_status=RUNNING)
def alert_on_s3(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], alerts: dg.ResourceParam[Alerts]
) -> dg.SkipReason:
    """A raw bucket that cannot be listed opens an alert. A sensor of its own: a hanging S3 holds up no other alert."""
    problem: Exception | None = None
    try:
        store = ObjectStore(s3_client(settings, read_seconds=10.0, attempts=2))
        next(iter(store.list(settings.raw_bucket)), None)
    except (GenreError, FileNotFoundError) as error:
        problem = error
    failed = sources.tell_s3(problem, int(context.cursor or 0), settings.raw_bucket, alerts)
    context.update_cursor(str(failed))
    return dg.SkipReason(f"s3://{settings.raw_bucket}: {problem or 'can be listed'}")


@dg.sensor(default_status=RUNNING)
def prune_clients_audio(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
    """Captured clips that are too old, or too many, are removed, whether clips are captured now or not."""
    now = datetime.now(UTC)
    if abs(now.timestamp() - float(context.cursor or 0)) < clients_audio.EVERY_SECONDS:
        return dg.SkipReason("looked at a moment ago")
    store = ObjectStore(s3_client(settings, read_seconds=10.0, attempts=2))
    try:
        pruned = clients_audio.prune(store, settings, now)
    except (TransientFailure, FileNotFoundError) as error:  # else the tick fails, and an alert says so
        return dg.SkipReason(f"not looked at: {error}")
    if not pruned.unfinished:
        context.update_cursor(str(now.timestamp()))
    if pruned.removed:
        context.instance.report_runless_asset_event(dg.AssetObservation("clients_audio", metadata=asdict(pruned)))
    return dg.SkipReason(str(pruned))


def _failing_ticks(instance: dg.DagsterInstance) -> dict[str, int]:
    """Each sensor that has run, with the number of its newest ticks (up to three) that failed in a row."""
    failing = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=4)
        ended = [tick.status for tick in ticks if tick.status is not TickStatus.STARTED][:3]
        failing[state.instigator_name] = next(
            (i for i, s in enumerate(ended) if s is not TickStatus.FAILURE), len(ended)
        )
    return failing


def _request(
    context: dg.SensorEvaluationContext,
    purpose: str,
    run_config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """A run for the purpose, unless one is on its way or failed a moment ago."""
    records = context.instance.get_run_records(dg.RunsFilter(tags={PURPOSE: purpose}))
    ask = next_run(purpose, [_attempt(record) for record in records], datetime.now(UTC))
    if ask.key is None:
        return dg.SkipReason(ask.why)
    return dg.RunRequest(run_key=ask.key, run_config=run_config or {}, tags={PURPOSE: purpose, **(tags or {})})


def _attempt(record: dg.RunRecord) -> Attempt:
    if not record.dagster_run.is_finished:
        return Attempt("running")
    ended = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    return Attempt("succeeded" if record.dagster_run.is_success else "failed", ended)


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
    new_drift_window,
    new_labels,
    drift_page_due,
    promotion_due,
    alert_on_checks,
    alert_on_failed_run,
    resolve_on_succeeded_run,
    alert_on_platform,
    alert_on_s3,
    prune_clients_audio,
]
