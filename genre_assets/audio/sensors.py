"""The sensor on the raw bucket. A thin shell: what to ask for is decided by pure functions in `arrivals` and `listing`."""

import time
from collections.abc import Sequence
from dataclasses import replace

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from genre_assets import labels
from genre_assets.audio.arrivals import decision as arrivals
from genre_assets.audio.arrivals import events, looks, materialised
from genre_assets.audio.tables import decisions, listing
from genre_assets.errors import GenreError
from genre_assets.runs import partitions, pools
from genre_assets.runs.automation import unfinished_runs
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

INGESTING_JOBS = ("ingest", "build")
NOTHING = "nothing changed in the raw bucket"
WAITING = "waiting for the run that reads the bucket"


@dg.sensor(
    job_name="ingest",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for one run of ingest for all labels whose objects in the raw bucket changed. It waits while a run that reads the bucket goes on.",
)
def raw_bucket(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.SensorResult | dg.SkipReason:
    """Asks for one run of `ingest` for all genres whose objects were added, removed or overwritten.

    Keeps the partitions the same as the label set, too: a label that was added has its partition before its run.

    With S3's events (GENRE_S3_EVENTS) it lists what they name, and everything only every GENRE_S3_LIST_SECONDS.

    While a run that reads the bucket is queued or under way, of whatever job, it waits, so that a bulk upload becomes a
    few runs and no work is asked for twice. What the stored tables already hold is not asked for. A listing that fails
    is a skip, never an empty bucket. A file that somebody put back from the quarantine is asked for as a new one is.
    """
    cursor, clock = arrivals.Cursor.load(context.cursor), time.time()
    queue = events.EventQueue.from_settings(settings)
    try:
        names = labels.names(store, settings)
        moved = partitions.changes(context.instance.get_dynamic_partitions(labels.PARTITIONS), names)
        heard = looks.hear(queue, settings, cursor, names, clock=clock)
        if heard.told:
            context.log.warning(heard.told)
        wanted = None if heard.everything else looks.to_list(heard.cursor, names)
        marks = decisions.marks(store, settings)
        if wanted == set() and heard.cursor.asked_at is None and not marks:
            return _skip(NOTHING, moved, heard.cursor)
        if queue is not None and _is_being_read(context.instance):
            return _skip(WAITING, (), heard.cursor)  # what was named is kept; partitions must stay
        now = looks.look(store, settings, names, heard.cursor.seen, wanted, marks)
        cursor = looks.looked(heard, clock)
        if not arrivals.needs_a_look(now, cursor):
            return _skip(NOTHING, moved, replace(cursor, seen=now) if queue else None)
        if _is_being_read(context.instance):
            return _skip(WAITING, (), heard.cursor if queue else None)
        held = materialised.digests(store, settings)
        if wanted is not None:  # an event may have been lost: before a run is asked for, what differs is listed
            now = looks.look(store, settings, names, now, set(listing.changed(now, held)) - wanted, marks)
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"the raw bucket cannot be compared: {error}")
    decision = arrivals.decide(now, held, cursor, clock=clock)
    if decision.action == "skip":
        return _skip(decision.reason, moved, decision.cursor)
    return dg.SensorResult(
        run_requests=[_request(decision.genres)], cursor=decision.cursor.dump(), dynamic_partitions_requests=moved
    )


def _skip(
    reason: str, moved: Sequence[partitions.Change], cursor: arrivals.Cursor | None
) -> dg.SensorResult | dg.SkipReason:
    """A skip, with the cursor to keep if that is another."""
    if not moved and cursor is None:
        return dg.SkipReason(reason)
    return dg.SensorResult(
        skip_reason=reason, cursor=cursor.dump() if cursor else None, dynamic_partitions_requests=moved
    )


def _is_being_read(instance: dg.DagsterInstance) -> bool:
    """Whether a run of the pool `audio` is not finished. Runs that an older version queued know no pool: the name tells."""
    return any(
        run.job_name in INGESTING_JOBS
        or (run.run_op_concurrency is not None and pools.AUDIO in (run.run_op_concurrency.all_pools or ()))
        for run in unfinished_runs(instance)
    )


def _request(genres: Sequence[str]) -> dg.RunRequest:
    """One run. Dagster's runs take a range of partitions, so the genres that lie between are looked at as well.

    That costs a listing. As two runs, the one that was planned first and ended last would leave the checks of what it
    materialised without a result.
    """
    tags = {"genre/reason": f"changed in the raw bucket: {', '.join(genres)}"}
    if len(genres) == 1:
        return dg.RunRequest(partition_key=genres[0], tags=tags)
    return dg.RunRequest(
        tags={**tags, ASSET_PARTITION_RANGE_START_TAG: genres[0], ASSET_PARTITION_RANGE_END_TAG: genres[-1]}
    )


SENSORS: list[dg.SensorDefinition] = [raw_bucket]
