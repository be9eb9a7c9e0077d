"""Launching the named jobs from outside Dagster, the way the UI does, and following them."""

from collections.abc import Callable, Sequence
from typing import Any

from genre_assets import labels
from genre_assets.errors import BadInput, Interrupted, PermanentFailure
from genre_assets.settings import Settings
from genre_assets.stack.services import graphql
from genre_assets.stack.services.graphql import RunProgress
from genre_assets.store import ObjectStore, s3_client

Report = Callable[[str], None]
JOBS = ("build", "ingest", "retrain", "release", "drift", "drift_page", "batch")
ROUTES = ("champion", "fallback")


def over_all(names: Sequence[str]) -> dict[str, str]:
    """Dagster's own tags for one run over a range of partitions: all of these labels, which are the partitions there are."""
    return {"dagster/asset_partition_range_start": names[0], "dagster/asset_partition_range_end": names[-1]}


def launch_and_follow(
    settings: Settings, job: str, *, run_config: dict[str, Any] | None = None, report: Report
) -> RunProgress:
    """Launch a job, over all labels where it has partitions, and follow it to its end.

    Raises `BadInput` for an unknown job, `PermanentFailure` with the messages of the steps that failed.
    """
    return follow(settings, launch(settings, job, run_config=run_config), report=report)


def launch(settings: Settings, job: str, *, run_config: dict[str, Any] | None = None) -> str:
    """Launch a job, over all labels where it has partitions. Returns the id of its run.

    Raises `BadInput` for an unknown job, `PermanentFailure` if Dagster refuses it.
    """
    if job not in JOBS:
        raise BadInput(f"there is no job {job!r}; there are: {', '.join(JOBS)}")
    tags = over_all(partition_by_labels(settings)) if job in {"build", "ingest"} else {}
    return graphql.launch(settings.dagster_url, job, tags=tags, run_config=run_config)


def partition_by_labels(settings: Settings) -> Sequence[str]:
    """The labels, which are Dagster's partitions now: no sensor need have seen them. Raises `BadInput` if there is none."""
    names = labels.names(ObjectStore(s3_client(settings)), settings)
    if not names:
        raise BadInput(
            f"there is no label: put audio into s3://{settings.raw_bucket}/<label>/, with: genre-assets ingest DIR"
        )
    gone, new = labels.difference(graphql.partitions(settings.dagster_url, "raw_audio"), names)
    graphql.change_partitions(settings.dagster_url, labels.PARTITIONS, gone, new)
    return names


def launch_promotion(settings: Settings, route: str, *, reason: str, pin: bool = False) -> str:
    """Let the champion or the fallback serve, by a person's hand: launch the job `promote`. Returns the id of its run.

    With `pin` it stays whatever drift says; without, a pin that was set is lifted. Raises `BadInput` for an unknown route
    or an empty reason, `PermanentFailure` if Dagster refuses it.
    """
    if route not in ROUTES:
        raise BadInput(f"there is no route {route!r}; there are: {', '.join(ROUTES)}")
    if not reason.strip():
        raise BadInput("a promotion needs a reason: it goes into the audit table")
    wanted: dict[str, Any] = {"route": route, "reason": reason, "actor": "person", "pinned": pin}
    config = {"ops": {"live_ensemble": {"config": wanted}}}
    return graphql.launch(settings.dagster_url, "promote", run_config=config)


def follow(settings: Settings, run_id: str, *, report: Report) -> RunProgress:
    """Report each step as it starts and finishes.

    Raises `PermanentFailure` if the run does not succeed, `Interrupted` where nobody wants to watch it any more.
    """
    link = f"{settings.dagster_link}/runs/{run_id}"
    shown: set[str] = set()

    def show(now: RunProgress) -> None:
        if now.status == "QUEUED" and "QUEUED" not in shown:
            shown.add("QUEUED")
            report("  waits in the queue (one run at a time reads the bucket, one builds; four in all) ...")
        for step in now.started:
            # Checks are steps too, named after their asset; the assets alone tell where the run is.
            if step not in shown and not any(step.startswith(f"{asset}_") for asset in now.started):
                shown.add(step)
                report(f"  {step} ...")

    try:  # from its first word on: whoever reads that may interrupt the next moment
        report(f"run {run_id[:8]}: {link}")
        end = graphql.wait(settings.dagster_url, run_id, on_progress=show)
    except KeyboardInterrupt:
        raise Interrupted(f"the run goes on: {link} (stop it there with Terminate)") from None
    if end.status != "SUCCESS":
        said = "\n".join(dict.fromkeys(end.failures)) or f"it ended with {end.status}"
        raise PermanentFailure(f"run {run_id} did not succeed:\n{said}\nAll of it: {link}")
    return end
