"""What a run's steps print, kept in S3 by dagster-aws: the webserver shows it from whatever machine the run was on.

`dagster.yaml` names the class; only processes that execute steps or show their output load this module.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster_aws.s3.compute_log_manager import S3ComputeLogManager  # noqa: TID253  # no code location loads it

from genre_assets import keys
from genre_assets.settings import load_settings
from genre_assets.store import s3_client

UPLOAD_SECONDS = 30


class ComputeLogs(S3ComputeLogManager):  # type: ignore[misc]  # mypy does not read dagster-aws
    """dagster-aws's manager over this platform's settings, bucket and client.

    Its own client would wait minutes for an S3 that hangs, at the end of each run. What cannot be uploaded stays on the
    machine of the run, whose log says so; the run itself is what it is.
    """

    def __init__(self, inst_data: Any = None) -> None:
        settings = load_settings()
        super().__init__(
            bucket=settings.serving_bucket,
            local_dir=str(settings.home / "dagster" / "compute_logs"),
            inst_data=inst_data,
            prefix=keys.COMPUTE_LOGS,
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
            upload_interval=UPLOAD_SECONDS,
        )
        self._s3_session = s3_client(settings, connect_seconds=2, read_seconds=10, attempts=2)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing: all is in the settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """As Dagster makes it of `dagster.yaml`."""
        return cls(inst_data, **config_value)
