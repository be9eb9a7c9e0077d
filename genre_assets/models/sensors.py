"""Sensors of the models stage: thin shells around pure decisions."""

import json
import time
from typing import Any

import dagster as dg

from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.models import stored
from genre_assets.models.retraining import Decision, Rules, Situation, decide
from genre_assets.serving import promotion
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore

JOB = "retrain"
TRAINING_JOBS = ("retrain", "build")
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=load_settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def retraining_gate(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> dg.SensorResult | dg.SkipReason:
    """Requests one retraining: for enough new labelled clips, for sustained drift, or on schedule.

    One at a time, none within the cool-down. The reason is on the run as the tag `genre/reason`. A person asks for the
    same job in the UI or with `genre-assets run retrain`.
    """
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    try:
        situation, cursor = _situation(cursor, settings, store, database, running=_in_progress(context.instance))
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"cannot tell whether a retraining is due: {error}")
    decision = decide(situation, _rules(settings))
    if not decision.request:
        return dg.SensorResult(skip_reason=decision.reason, cursor=json.dumps(cursor))
    return dg.SensorResult(
        [_request(decision, situation.now)], cursor=json.dumps({**cursor, "requested": situation.now})
    )


def _situation(
    cursor: dict[str, Any], settings: Settings, store: ObjectStore, database: Database, *, running: bool
) -> tuple[Situation, dict[str, Any]]:
    """What is known now, and the cursor that spares the next tick reading features that have not changed."""
    found = stored.look(store, settings)
    if cursor.get("digest") != found.digest:
        new_clips = 0 if settings.feature_tables else stored.new_recordings(store, settings)
        cursor = {**cursor, "digest": found.digest, "new_clips": new_clips or 0}
    serving = promotion.standing(database).serving
    on_fallback = serving is not None and serving.route == "fallback" and not serving.pinned
    situation = Situation(
        now=time.time(),
        new_clips=cursor["new_clips"],
        trained_at=found.made_at,
        fallback_since=serving.since.timestamp() if serving is not None and on_fallback else None,
        running=running,
        last_request=cursor.get("requested"),
    )
    return situation, cursor


def _rules(settings: Settings) -> Rules:
    return Rules(
        settings.retrain_min_new_clips,
        settings.retrain_cooldown_seconds,
        settings.retrain_every_hours,
        settings.retrain_drift_hours,
    )


def _request(decision: Decision, now: float) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"retrain-{now:.0f}", tags={"genre/reason": decision.reason})


def _in_progress(instance: dg.DagsterInstance) -> bool:
    return any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=UNFINISHED)) for job in TRAINING_JOBS)


SENSORS = [retraining_gate]
