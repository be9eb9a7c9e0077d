"""The sensor on the raw bucket. A thin shell: what to ask for is decided by pure functions in `arrivals` and `listing`."""

import time

import dagster as dg

from genre_assets.audio import arrivals, listing, materialised
from genre_assets.errors import GenreError
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
INGESTING_JOBS = ("ingest", "build")


@dg.sensor(
    job_name="ingest",
    minimum_interval_seconds=load_settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def raw_bucket(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.SensorResult | dg.SkipReason:
    """Asks for a run of `ingest` for the genres whose objects were added, removed or overwritten.

    While a run that reads the bucket is under way it waits, so that a bulk upload becomes a few runs and no two runs
    write one table. What the stored tables already hold is not asked for. A listing that fails is a skip, never an
    empty bucket.
    """
    cursor = arrivals.Cursor.load(context.cursor)
    try:
        now = listing.digests(store.list(settings.raw_bucket))
        if not arrivals.needs_a_look(now, cursor):
            return dg.SkipReason("nothing changed in the raw bucket")
        if _is_being_read(context.instance):
            return dg.SkipReason("waiting for the run that reads the bucket")
        held = materialised.digests(store, settings)
    except (GenreError, FileNotFoundError) as error:
        return dg.SkipReason(f"the raw bucket cannot be compared: {error}")
    decision = arrivals.decide(now, held, cursor, clock=time.time())
    if decision.action == "skip":
        return dg.SensorResult(skip_reason=decision.reason, cursor=decision.cursor.dump())
    requests = [_request(first, last) for first, last in listing.contiguous(decision.genres)]
    return dg.SensorResult(run_requests=requests, cursor=decision.cursor.dump())


def _is_being_read(instance: dg.DagsterInstance) -> bool:
    return any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=UNFINISHED)) for job in INGESTING_JOBS)


def _request(first: str, last: str) -> dg.RunRequest:
    if first == last:
        return dg.RunRequest(partition_key=first)
    return dg.RunRequest(tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last})


SENSORS: list[dg.SensorDefinition] = [raw_bucket]
