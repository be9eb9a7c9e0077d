"""Sensors of the models stage: thin shells around pure decisions."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import dagster as dg

from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.models.data import training_store
from genre_assets.models.retraining import Decision, DriftedSince, Rules, Situation, decide
from genre_assets.runs.automation import unfinished_runs
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

JOB = "retrain"
TRAINING_JOBS = ("retrain", "build")


@dg.sensor(
    job_name=JOB,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for retrain when enough new clips are there, when drift has gone on for long, or when the training set is old.",
)
def retraining_gate(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
    drifted_since: dg.ResourceParam[DriftedSince],
) -> dg.SensorResult | dg.SkipReason:
    """Requests one retraining: for a changed label set, enough new labelled clips, sustained drift, or on schedule.

    One at a time, none within the cool-down. The reason is on the run as the tag `genre/reason`. A person asks for the
    same job in the UI or with `genre-assets run retrain`.
    """
    cursor: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
    try:
        running = _in_progress(context.instance)
        situation, cursor = _situation(
            cursor, settings, store, lambda: drifted_since(settings, database), running=running
        )
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"cannot tell whether a retraining is due: {error}")
    decision = decide(situation, _rules(settings))
    if not decision.request:
        return dg.SensorResult(skip_reason=decision.reason, cursor=json.dumps(cursor))
    return dg.SensorResult(
        [_request(decision, situation.now)], cursor=json.dumps({**cursor, "requested": situation.now})
    )


def _situation(
    cursor: dict[str, Any],
    settings: Settings,
    store: ObjectStore,
    drifted_since: Callable[[], float | None],
    *,
    running: bool,
) -> tuple[Situation, dict[str, Any]]:
    """What is known now, and the cursor that spares the next tick reading features that have not changed."""
    found = training_store.look(store, settings)
    if cursor.get("digest") != found.digest or "news" not in cursor:
        cursor = {**cursor, "digest": found.digest, "news": asdict(training_store.news(store, settings))}
    situation = Situation(
        now=time.time(),
        new_clips=cursor["news"]["recordings"],
        trained_at=found.made_at,
        drifted_since=drifted_since(),
        running=running,
        last_request=cursor.get("requested"),
        new_labels=cursor["news"]["labels"],
        removed_labels=cursor["news"]["removed"],
        of_clients=cursor["news"].get("of_clients", 0),  # a cursor of the version before has none
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
    return any(run.job_name in TRAINING_JOBS for run in unfinished_runs(instance))


SENSORS = [retraining_gate]
