"""The sensor on the raw bucket. A thin shell: what to ask for is decided by pure functions in `arrivals` and `listing`."""

import time
from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from genre_assets import labels, partitions, pools
from genre_assets.audio.arrivals import decision as arrivals
from genre_assets.audio.arrivals import materialised
from genre_assets.audio.tables import listing
from genre_assets.errors import GenreError
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

INGESTING_JOBS = ("ingest", "build")


@dg.sensor(
    job_name="ingest",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def raw_bucket(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.SensorResult | dg.SkipReason:
    """Asks for one run of `ingest` for all genres whose objects were added, removed or overwritten.

    Keeps the partitions the same as the label set, too: a label that was added has its partition before its run.

    While a run that reads the bucket is queued or under way, of whatever job, it waits, so that a bulk upload becomes a
    few runs and no work is asked for twice. What the stored tables already hold is not asked for. A listing that fails
    is a skip, never an empty bucket.
    """
    cursor = arrivals.Cursor.load(context.cursor)
    try:
        names = labels.names(store, settings)
        moved = partitions.changes(context.instance.get_dynamic_partitions(labels.PARTITIONS), names)
        now = listing.digests(store.list(settings.raw_bucket), names)
        if not arrivals.needs_a_look(now, cursor):
            return _skip("nothing changed in the raw bucket", moved)
        if _is_being_read(context.instance):
            return dg.SkipReason("waiting for the run that reads the bucket")  # whose partitions must stay
        held = materialised.digests(store, settings)
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"the raw bucket cannot be compared: {error}")
    decision = arrivals.decide(now, held, cursor, clock=time.time())
    if decision.action == "skip":
        return dg.SensorResult(
            skip_reason=decision.reason, cursor=decision.cursor.dump(), dynamic_partitions_requests=moved
        )
    return dg.SensorResult(
        run_requests=[_request(decision.genres)], cursor=decision.cursor.dump(), dynamic_partitions_requests=moved
    )


def _skip(reason: str, moved: Sequence[partitions.Change]) -> dg.SensorResult | dg.SkipReason:
    return dg.SensorResult(skip_reason=reason, dynamic_partitions_requests=moved) if moved else dg.SkipReason(reason)


def _is_being_read(instance: dg.DagsterInstance) -> bool:
    """Whether a run of the pool `audio` is not finished. Runs that an older version queued know no pool: the name tells."""
    return any(
        run.job_name in INGESTING_JOBS
        or (run.run_op_concurrency is not None and pools.AUDIO in (run.run_op_concurrency.all_pools or ()))
        for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
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
