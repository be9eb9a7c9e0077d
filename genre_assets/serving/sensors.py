"""What sets drift and promotion going. Each sensor is a thin shell over a pure or a database function."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PRIORITY_TAG

from genre_assets.database import Database
from genre_assets.errors import GenreError, TransientFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.runs.automation import unfinished_runs
from genre_assets.serving import drift_assets, going_live
from genre_assets.serving.agent import fleet
from genre_assets.serving.assets import live_ensemble, live_events
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.feedback import labels, training_clips
from genre_assets.serving.promotion import replica_state, route_state
from genre_assets.serving.promotion.moves import DRIFT, OpenMove, Wish
from genre_assets.serving.promotion.policy import Rules as PromotionRules
from genre_assets.serving.promotion.run_requests import Attempt, next_run
from genre_assets.serving.rollout import reconciliation
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, store_for_a_tick
from genre_assets.triton.control import TritonControl

RUNNING = dg.DefaultSensorStatus.RUNNING
PURPOSE = "genre/purpose"  # tag of the runs that these sensors ask for
EVALUATE_SECONDS = 20.0
PAGE_AFTER, PAGE_AT_LAST = timedelta(seconds=20), timedelta(minutes=10)
MOVE_SECONDS = 20.0  # that replicas are waited for within a tick, which has a minute
AGREES = threading.Event()  # the page of live_ensemble and the books, at some time since this process began


@dg.sensor(
    job_name="drift",
    default_status=RUNNING,
    description="Evaluates a window of answered items as soon as it is complete, and makes the move that this calls for; asks for "
    "drift where it cannot.",
)
def new_drift_window(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.RunRequest | dg.SkipReason:
    """A window of answered items is complete, or waits to be evaluated: evaluate it in this tick, without a process for it.

    It does what the job drift does, by the same functions, and makes a move that is decided before it reports. What it cannot
    do, or not in time, is left to that job, whose run says why, and is asked for again with pauses.
    """
    rules, end = Rules.from_settings(settings), time.monotonic() + EVALUATE_SECONDS
    said, window = list[str](), window_store.due(database, rules)
    while window is not None and (not said or time.monotonic() < end):  # the next one may be complete by now
        try:
            said.append(_evaluate(context, settings, database, triton, end))
        except Exception as error:  # noqa: BLE001  # a run is made of it, and fails in turn if it must
            context.log.warning(f"window {window} is left to a run: {type(error).__name__}: {error}")
            break
        window = window_store.due(database, rules)
    if window is not None:
        return _request(context, f"drift-{window}")
    return dg.SkipReason("; ".join(said) or "no window is complete")


def _evaluate(
    context: dg.SensorEvaluationContext, settings: Settings, database: Database, triton: TritonControl, end: float
) -> str:
    """Evaluate, decide, move and report; says what came of it. Begins no further window after `end`: a tick has a minute."""
    store = store_for_a_tick(settings)
    standing, decision = drift_assets.decide(database, store, settings, end - time.monotonic())
    moved = standing.due and _make(context, standing.due, settings, store, database, triton)
    labels.update_windows(database)
    windows = drift_assets.report(context.instance, database, store, settings)
    evaluated = "; ".join(f"window {one.window.id}: {one.level}: {one.reason}" for one in windows)
    why = decision.reason if decision else "nothing is decided"
    return f"{evaluated or 'nothing to report'}. {moved or f'The wanted route is {standing.wanted}: {why}'}"


@dg.sensor(
    job_name="drift",
    default_status=RUNNING,
    description="Asks for drift when labels came into the raw bucket, so that they count and become training data.",
)
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


@dg.sensor(
    job_name="drift_page",
    default_status=RUNNING,
    description="Asks for drift_page when the newest window has no page yet and nothing else is to be done.",
)
def drift_page_due(
    context: dg.SensorEvaluationContext, database: dg.ResourceParam[Database]
) -> dg.RunRequest | dg.SkipReason:
    """The newest window has no page yet: draw it, one at a time, and not while window follows upon window.

    Drawing takes a core for a while, which verdicts and moves want then. Without a page for long, one is drawn nevertheless.
    """
    newest = window_store.newest_one(database)
    if newest is None or newest.report is not None:
        return dg.SkipReason("the newest window has its page" if newest else "no window is evaluated yet")
    if any(run.job_name == "drift_page" for run in unfinished_runs(context.instance)):
        return dg.SkipReason("a page is being drawn")
    now = datetime.now(UTC)
    if newest.evaluated_at and now - newest.evaluated_at < PAGE_AFTER:
        drawn = window_store.newest_drawn(database)
        if drawn is not None and now - drawn < PAGE_AT_LAST:
            return dg.SkipReason(f"window {newest.window.id} is drawn when no other follows it")
    config = {"ops": {"drift_pages": {"config": {"window": newest.window.id}}}}
    return _request(context, f"page-{newest.window.id}", config, {PRIORITY_TAG: "-1"})


@dg.sensor(
    job_name="promote",
    default_status=RUNNING,
    description="Makes the change of the route that drift has decided; asks for promote where it cannot.",
)
def promotion_due(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.RunRequest | dg.SkipReason:
    """Failed (or again passing) drift checks call for another route: go over to it in this tick, without a process for it.

    It decides from the rows that the check `feature_drift` states, so that a verdict whose run died later counts too.
    What the tick cannot do, or what a person's killed run has left, is for a run of the job promote.
    Without a move that is due, files and Triton are made equal to the books if a kill or a restart left them apart.
    """
    fallback = replica_state.has_fallback(settings, database)
    standing, decision = route_state.advance(database, PromotionRules.from_settings(settings), fallback=fallback)
    move = standing.due
    if move is None:
        booked = standing.serving.route if standing.serving else None
        if request := _reconcile(context, settings, database, triton, booked):
            return request
        return dg.SkipReason(decision.reason if decision else "nothing is released yet")
    if said := _make(context, move, settings, store_for_a_tick(settings), database, triton):
        return dg.SkipReason(said)
    if move.actor == DRIFT and _is_new(move) and going_live.is_under_way(settings, database):
        return dg.SkipReason("somebody is at work on who serves; looked at again in a moment")
    config = {
        "route": move.route, "reason": move.reason, "actor": move.actor, "evidence": move.evidence,
        "pinned": move.pinned,  # a person's, whose run was killed
    }  # fmt: skip
    return _request(context, _purpose(move), {"ops": {"live_ensemble": {"config": config}}})


def _purpose(move: OpenMove) -> str:
    return f"move-{move.id}"


def _is_new(move: OpenMove) -> bool:
    return datetime.now(UTC) - move.decided_at < timedelta(seconds=MOVE_SECONDS)


def _make(
    context: dg.SensorEvaluationContext,
    move: OpenMove,
    settings: Settings,
    store: ObjectStore,
    database: Database,
    triton: TritonControl,
) -> str | None:
    """Make a move of the drift's here, and report it as a run would; says what came of it.

    None leaves it to a run: it takes longer than a tick has, was left to a run before, or failed, as that run will say.
    """
    if move.actor != DRIFT or _attempts(context, _purpose(move)):
        return None
    limit = min(MOVE_SECONDS, settings.replica_timeout_seconds)
    wish = Wish(move.route, move.actor, move.reason, move.evidence)
    try:
        if not going_live.is_quick(settings, store, database):
            return None
        bounded = settings.model_copy(update={"replica_timeout_seconds": limit})
        done = going_live.carry_out(wish, bounded, store, database, triton)
    except Exception as error:  # noqa: BLE001  # a run is made of it, and fails in turn if it must
        context.log.warning(f"move {move.id} is left to a run: {type(error).__name__}: {error}")
        return None
    try:
        for event in live_events(done, settings, store, database, triton):
            context.instance.report_runless_asset_event(event)
    except GenreError as error:  # who serves is booked, and whether it still answers is not known
        context.log.warning(f"move {move.id} is made, and not reported to the end: {error}")
    return f"{done.live.route} serves: {move.reason}"


def _reconcile(
    context: dg.SensorEvaluationContext,
    settings: Settings,
    database: Database,
    triton: TritonControl,
    route: str | None,
) -> dg.RunRequest | dg.SkipReason | None:
    """A run that makes files, Triton (or the wish for all replicas) and the page equal to the books, if they have been apart for seconds."""
    try:
        if settings.serving_agents:
            apart = fleet.difference(settings, database, route)
        else:
            apart = reconciliation.difference(
                reconciliation.observe(route, ModelRepository(settings.repository), triton)
            )
    except TransientFailure:
        return None  # the supervisor restarts a server that is away
    apart = apart or _shown_otherwise(context, route)
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


def _shown_otherwise(context: dg.SensorEvaluationContext, route: str | None) -> str | None:
    """What the page of `live_ensemble` says other than the books: who died between booking a move and reporting it left that.

    Compared from the start of this process, which may have died so, until both agree.
    """
    if route is None or AGREES.is_set():
        return None
    newest = context.instance.get_latest_materialization_event(live_ensemble.key)
    made = newest.asset_materialization if newest else None
    said = made.metadata.get("route") if made else None
    if said is None or said.value == route:
        AGREES.set()
        return None
    return f"the {route} serves by the books, but the page of live_ensemble says {said.value}"


def _request(
    context: dg.SensorEvaluationContext,
    purpose: str,
    run_config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """A run for the purpose, unless one is on its way or failed a moment ago."""
    ask = next_run(purpose, _attempts(context, purpose), datetime.now(UTC))
    if ask.key is None:
        return dg.SkipReason(ask.why)
    return dg.RunRequest(run_key=ask.key, run_config=run_config or {}, tags={PURPOSE: purpose, **(tags or {})})


def _attempts(context: dg.SensorEvaluationContext, purpose: str) -> list[Attempt]:
    """The runs that there were for the purpose."""
    return [_attempt(record) for record in context.instance.get_run_records(dg.RunsFilter(tags={PURPOSE: purpose}))]


def _attempt(record: dg.RunRecord) -> Attempt:
    if not record.dagster_run.is_finished:
        return Attempt("running")
    ended = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    return Attempt("succeeded" if record.dagster_run.is_success else "failed", ended)


# A client's next item may be wrong until they have acted: they look again and again within a tick (`definitions.py`).
WATCHING = frozenset({new_drift_window.name, promotion_due.name})

SENSORS: Sequence[dg.SensorDefinition] = [
    new_drift_window,
    new_labels,
    drift_page_due,
    promotion_due,
]
