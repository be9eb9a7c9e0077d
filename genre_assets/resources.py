"""What the assets, checks and sensors are given, by parameter name; one dictionary, made from the settings.

Each resource is a plain object, built when a run first needs it. Tests hand over their own in the same place.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from genre_assets.database import Database
from genre_assets.models.registry import ModelRegistry
from genre_assets.serving.alerts import Alerts
from genre_assets.serving.control import TritonControl
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client


def default_resources(settings: Settings) -> dict[str, Any]:
    """Resources of the running platform, all from the settings."""
    return {
        "settings": settings,
        "store": _lazily(lambda: ObjectStore(s3_client(settings)), "The object store (S3)."),
        "database": _lazily(
            lambda: Database(settings.database_url.get_secret_value()), "PostgreSQL: the platform's own tables."
        ),
        "registry": _lazily(lambda: ModelRegistry.from_settings(settings), "MLflow's model registry."),
        "triton": _lazily(lambda: TritonControl.from_settings(settings), "Control of the Triton server."),
        "alerts": _lazily(lambda: Alerts.from_settings(settings), "Where people are told."),
    }


def _lazily(make: Callable[[], Any], description: str) -> dg.ResourceDefinition:
    return dg.ResourceDefinition(lambda _: make(), description=description)
