"""The local services, all of them."""

from urllib.parse import urlsplit

from genre_assets.settings import Settings
from genre_assets.stack.dagster import DagsterCode, DagsterDaemon, DagsterWeb
from genre_assets.stack.mlflow import MLflow
from genre_assets.stack.postgres import Postgres
from genre_assets.stack.s3 import S3
from genre_assets.stack.service import Service
from genre_assets.stack.triton import Triton


def services(settings: Settings) -> list[Service]:
    """Every local service, in start order."""
    password = urlsplit(settings.database_url.get_secret_value()).password or ""
    return [
        S3(settings),
        Postgres(settings, password),
        MLflow(settings),
        Triton(settings),
        DagsterCode(settings),
        DagsterWeb(settings),
        DagsterDaemon(settings),
    ]
