"""The local services, all of them."""

from urllib.parse import urlsplit

from genre_assets.settings import Settings
from genre_assets.stack.services import observability
from genre_assets.stack.services.dagster import DagsterCode, DagsterDaemon, DagsterWeb
from genre_assets.stack.services.gateway import Gateway
from genre_assets.stack.services.mlflow import MLflow
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.stack.services.triton import Triton
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.stack.supervision.service import Service

RELOADED = frozenset(
    {DagsterCode.name, DagsterDaemon.name}
)  # they read settings that may change while the others serve


def services(settings: Settings) -> list[Service]:
    """Every local service, in start order."""
    password = urlsplit(settings.postgres_admin_url.get_secret_value()).password or ""
    return [
        S3(settings),
        Postgres(settings, password),
        MLflow(settings),
        Triton(settings),
        TritonDoor(settings),
        DagsterCode(settings),
        DagsterWeb(settings),
        DagsterDaemon(settings),
        Gateway(settings),
        *observability.services(settings),
    ]
