"""Actions of the platform, each run in a process of its own that may kill itself after a named step."""

import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow.models  # noqa: F401  # with all that a client needs, so that it is there when processes are forked

from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import checkpoint, inventory, refresh
from genre_assets.database import Database
from genre_assets.inference.request_log import Row
from genre_assets.inference.spool import PredictionLog
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.packaging import publish
from genre_assets.packaging.golden import Comparison
from genre_assets.packaging.parity import Parity
from genre_assets.packaging.release import Release
from genre_assets.serving.assets import live_ensemble
from genre_assets.serving.feedback import labels, training_clips
from genre_assets.serving.sensors import promotion_due
from genre_assets.settings import Settings
from genre_assets.steps import CRASH_AFTER, Step
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.control import TritonControl
from genre_assets_tests.models.mlflow.test_registry import register as register_model

Action = Callable[..., None]
# Forked from a server that has the imports: a process for each step would spend its time on them.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Ended:
    """How the process of an action ended."""

    exitcode: int | None

    @property
    def killed(self) -> bool:
        """Whether it killed itself, so that the step was reached."""
        return self.exitcode == -9


def run(action: Action, *arguments: Any, crash_after: Step | None = None) -> Ended:
    """Run an action in a process of its own, to its end or to the step after which it dies."""
    process = _processes.Process(target=_run, args=(action, crash_after, arguments))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"{action.__name__} hangs")
    return Ended(process.exitcode)


def _run(action: Action, crash_after: Step | None, arguments: tuple[Any, ...]) -> None:
    if crash_after is not None:
        os.environ[CRASH_AFTER] = crash_after.value
    action(*arguments)


def features(settings: Settings, genres: tuple[str, ...], url: str = "") -> None:
    """What both assets of the first stage do, without their worker processes; work is kept after every file.

    With the index of recordings in the database at `url`, if there is one.
    """
    checkpoint.SAVE_SECONDS = 0.0
    store = ObjectStore(s3_client(settings))

    def here(function: Callable[..., Any], tasks: Iterable[Any], **_: object) -> Iterator[tuple[Any, Any]]:
        return ((task, function(store, task)) for task in tasks)

    index = RecordingIndex(Database(url), settings.raw_bucket) if url else None
    inventory.update(store, settings, genres, map_tasks=here, index=index)
    refresh.refresh(store, settings, genres, map_tasks=here, index=index)


def registry_in(folder: Path, url: str) -> ModelRegistry:
    """A registry over files, with its audit in a real PostgreSQL."""
    return ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri(), database=Database(url))


def register(folder: Path, url: str) -> None:
    """Register the model of a run, and let it be the champion."""
    registry = registry_in(folder, url)
    known = registry.versions(key="k")  # as an experiment asks before it trains
    made = known[0] if known else register_model(registry, folder / uuid.uuid4().hex)
    registry.move("champion", made.version, actor="election", reason="it is the best")


def offer(settings: Settings, release: Release, folder: Path) -> None:
    """Publish a release that passed the gate; at most one other is kept."""
    publish.LEFTOVER_AGE = timedelta(0)
    agreed = Parity([Comparison("clip.wav", 1, "rock", "rock", 0.0)])
    publish.offer(settings, ObjectStore(s3_client(settings)), release, agreed, folder)


def promote(settings: Settings, route: str) -> None:
    """The asset that the job `promote` runs."""
    resources = {
        "settings": settings,
        "store": ObjectStore(s3_client(settings)),
        "database": Database(settings.database_url.get_secret_value()),
        "triton": TritonControl.from_settings(settings),
    }
    wish = {"route": route, "actor": "person", "reason": "the test of crashes"}
    config = {"ops": {"live_ensemble": {"config": wish}}}
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize([live_ensemble], resources=_given(resources), instance=instance, run_config=config)
    assert made.success


def promote_in_a_tick(settings: Settings) -> None:
    """The sensor that finds a move of the drift's due. A run that it would ask for is no success here."""
    resources = {
        "settings": settings,
        "database": Database(settings.database_url.get_secret_value()),
        "triton": TritonControl.from_settings(settings),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        said = promotion_due(dg.build_sensor_context(instance=instance, resources=resources))
    assert isinstance(said, dg.SkipReason), said


def ship(folder: Path, url: str, rows: list[Row]) -> None:
    """Log rows and ship them, as the post-processor does."""
    log = PredictionLog(folder, Database(url), max_bytes=2**20, retention_days=30)
    log.append(rows)
    log.close()


def take_labels(settings: Settings, url: str) -> None:
    """What the job `drift` does with labels."""
    store = ObjectStore(s3_client(settings))
    labels.take_new(Database(url), store, settings)
    assert training_clips.bring(Database(url), store, settings).stopped == ""


def _given(resources: dict[str, Any]) -> dict[str, Any]:
    return {name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in resources.items()}
