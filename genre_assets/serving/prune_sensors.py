"""What is pruned: captured clips, and days of the prediction log. Each sensor is a thin shell."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.inference import request_log
from genre_assets.serving import clients_audio
from genre_assets.settings import Settings
from genre_assets.store import store_for_a_tick

PRUNE_LOG_SECONDS = 3600.0
DAYS_AHEAD = 7  # a release of an earlier version cannot begin a day by itself


@dg.sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Removes captured clips that are too old, or too many, whether clips are captured now or not.",
)
def prune_clients_audio(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
    """Captured clips that are too old, or too many, are removed, whether clips are captured now or not."""
    now = datetime.now(UTC)
    if abs(now.timestamp() - float(context.cursor or 0)) < clients_audio.EVERY_SECONDS:
        return dg.SkipReason("looked at a moment ago")
    store = store_for_a_tick(settings)
    try:
        pruned = clients_audio.prune(store, settings, now)
    except (TransientFailure, FileNotFoundError) as error:  # else the tick fails, and an alert says so
        return dg.SkipReason(f"not looked at: {error}")
    if not pruned.unfinished:
        context.update_cursor(str(now.timestamp()))
    if pruned.removed:
        context.instance.report_runless_asset_event(dg.AssetObservation("clients_audio", metadata=asdict(pruned)))
    return dg.SkipReason(str(pruned))


@dg.sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Drops the days of the prediction log that are too old, and begins those to come.",
)
def prune_prediction_log(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], database: dg.ResourceParam[Database]
) -> dg.SkipReason:
    """Days of the log that are too old are dropped, whole; those to come are begun. Who appends to it may drop nothing."""
    now = datetime.now(UTC)
    if abs(now.timestamp() - float(context.cursor or 0)) < PRUNE_LOG_SECONDS:
        return dg.SkipReason("looked at within the hour")
    request_log.begin_days(database, ahead=DAYS_AHEAD, now=now)
    dropped = request_log.prune(database, days=settings.prediction_retention_days, now=now)
    context.update_cursor(str(now.timestamp()))
    return dg.SkipReason(f"dropped: {', '.join(dropped) or 'nothing'}")


SENSORS: Sequence[dg.SensorDefinition] = [prune_clients_audio, prune_prediction_log]
