"""What the assets, checks and sensors are given, by parameter name; one dictionary, made from the settings.

Each is built when a run first needs it: dagster-aws and dagster-mlflow cost a second of imports, which a code location
does not pay for being loaded. Tests hand over their own in the same place.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from genre_assets.database import Database
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.mlflow.tracked_run import FINISHED, KILLED, TrackedRun
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.promotion.retraining_requests import drifted_since
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.control import TritonControl

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource
    from mypy_boto3_s3 import S3Client

TRACKED_JOBS = ("build", "retrain")
"""Jobs whose runs are runs of MLflow too, with their experiments below them."""


class S3(dg.ConfigurableResource[Any]):
    """S3, as dagster-aws's S3Resource with short deadlines. The secret key is not shown here: it stays in the settings."""

    endpoint_url: str | None = Field(description="Address of the server; none: that of AWS.")
    region_name: str = Field(description="Region of the buckets.")
    aws_access_key_id: str | None = Field(description="Access key; none: boto3 looks for credentials itself.")
    max_attempts: int = Field(default=4, description="So often a request is tried in all.")
    connect_seconds: float = Field(default=5, description="Seconds to wait for a connection.")
    read_seconds: float = Field(default=60, description="Seconds to wait for the next bytes of an answer.")
    settings: dg.ResourceDependency[Settings]

    def create_resource(self, context: dg.InitResourceContext) -> "S3Resource":  # noqa: ARG002  # Dagster's signature
        """dagster-aws's resource: a parameter `s3: S3Resource` is given it, `context.resources.s3` is its client."""
        from dagster_aws.s3 import S3Resource

        settings = self.settings.model_copy(
            update={
                "s3_endpoint_url": self.endpoint_url,
                "s3_region": self.region_name,
                "s3_access_key": self.aws_access_key_id or "",
            }
        )
        connect_seconds, read_seconds, attempts = self.connect_seconds, self.read_seconds, self.max_attempts

        class WithDeadlines(S3Resource):  # type: ignore[misc]  # mypy does not read dagster-aws
            """The client of dagster-aws's own waits a minute for a server that is away, five times."""

            def get_client(self) -> Any:
                return s3_client(
                    settings, connect_seconds=connect_seconds, read_seconds=read_seconds, attempts=attempts
                )

        return WithDeadlines(
            endpoint_url=self.endpoint_url,
            region_name=self.region_name,
            aws_access_key_id=self.aws_access_key_id,
            max_attempts=attempts,
        )


def default_resources(settings: Settings) -> dict[str, Any]:
    """Resources of the running platform, all from the settings."""
    # A key without its secret is none: boto3 then looks for credentials itself.
    s3 = S3(
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key if settings.s3_secret_key.get_secret_value() else None,
        settings=settings,
    )
    return {
        "settings": settings,
        "s3": s3,
        "store": STORE,
        "database": _lazily(
            lambda: Database(settings.database_url.get_secret_value()), "PostgreSQL: the platform's own tables."
        ),
        "registry": _lazily(lambda: ModelRegistry.from_settings(settings), "MLflow's model registry."),
        "mlflow": MLFLOW,
        "triton": _lazily(lambda: TritonControl.from_settings(settings), "Control of the Triton server."),
        "alerts": _lazily(
            lambda: Alerts.from_settings(settings), "Alert channels: the webhook and Apprise addresses of the settings."
        ),
        "drifted_since": _lazily(lambda: drifted_since, "What the serving stage knows of drift, for the models stage."),
    }


# dagster-aws's resource is its client to those that need it by name.
STORE = dg.ResourceDefinition(
    lambda context: ObjectStore(context.resources.s3, _for_links(context.resources.settings)),
    required_resource_keys={"s3", "settings"},
    description="The object store: Parquet, JSON and files over the client of `s3`.",
)


def _for_links(settings: Settings) -> "S3Client | None":
    public = {"s3_endpoint_url": settings.s3_public_url}
    return s3_client(settings.model_copy(update=public)) if settings.s3_public_url else None


def _lazily(make: Callable[[], Any], description: str) -> dg.ResourceDefinition:
    return dg.ResourceDefinition(lambda _: make(), description=description)


def _tracked(context: dg.InitResourceContext) -> Iterator[TrackedRun]:
    """dagster-mlflow's resource for the run of a tracked job; for any other run there is none."""
    registry, settings, run = context.resources.registry, context.resources.settings, context.run
    if context.instance is None or run is None or run.job_name not in TRACKED_JOBS:
        yield TrackedRun(registry)
        return
    experiment = registry.prepare()  # before dagster-mlflow, which waits long for a store that is away
    registry.end_abandoned(partial(_is_over, context.instance))
    from dagster_mlflow import mlflow_tracking

    address = f"{settings.dagster_link}/runs/{run.run_id}"
    config = {
        "experiment_name": experiment,
        "mlflow_tracking_uri": registry.tracking_uri,
        "env": {},
        "extra_tags": {
            "dagster_run": address,
            "mlflow.note.content": f"[Dagster run {run.run_id}]({address}) of the job `{run.job_name}`; its experiments:\n",
        },
    }
    with ExitStack() as opened:
        with warnings.catch_warnings():  # it and Dagster use what they have deprecated
            warnings.simplefilter("ignore")
            fluent = opened.enter_context(contextmanager(mlflow_tracking.resource_fn)(context.replace_config(config)))
        tracked = TrackedRun(registry, str(fluent.active_run().info.run_id), fluent)
        if tracked.link:
            context.instance.add_run_tags(run.run_id, {"mlflow/run": tracked.link})
        try:
            yield tracked
        finally:
            # Its hook has ended it, unless the run was broken off, or its last step had nothing to do.
            if tracked.ended is None:
                tracked.end_run(KILLED if sys.exc_info()[1] or _is_over(context.instance, run.run_id) else FINISHED)


def _is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    found = instance.get_run_by_id(run_id)
    return found is None or found.is_finished or found.status is dg.DagsterRunStatus.CANCELING


MLFLOW = dg.ResourceDefinition(
    _tracked,
    required_resource_keys={"registry", "settings"},
    description="dagster-mlflow's run for a run of `build` or `retrain`.",
)


def _end_mlflow_run(context: Any, events: Any) -> Any:
    from dagster_mlflow import end_mlflow_on_run_finished

    return end_mlflow_on_run_finished.hook_fn(context, events)


# dagster-mlflow's own hook, imported when it is first called.
END_MLFLOW_RUN = dg.HookDefinition(
    name="end_mlflow_on_run_finished", hook_fn=_end_mlflow_run, required_resource_keys={"mlflow"}
)
