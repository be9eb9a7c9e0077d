"""What the world is made of: its clock, runs, releases, files, server, webhook. Each asks the world before it acts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from greenlet import greenlet

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.packaging.model_repository import Standing
from genre_assets.packaging.release import CONTENT
from genre_assets.serving.alerts.channels import Message
from genre_assets.serving.sensors import PURPOSE
from genre_assets.steps import Step
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, PYTHON_MODELS

if TYPE_CHECKING:
    from genre_assets_tests.simulator.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUTES = ("champion", "fallback")
MODELS = (ENSEMBLE, *PYTHON_MODELS)


class Clock(datetime):
    """Stands in for `datetime` in the modules of the control loop: `now` is the world's."""

    moment: ClassVar[datetime] = START

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """The world's time."""
        return cls.moment


@dataclass
class Run:
    """A run of Dagster's. `worker` is its process, while it has one."""

    job: str
    purpose: str
    config: dict[str, Any]
    status: str = "queued"
    worker: greenlet | None = None
    ended_at: datetime | None = None

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in {"succeeded", "failed"}

    def end(self, status: str) -> None:
        """It has ended."""
        self.status, self.worker, self.ended_at = status, None, Clock.moment

    def record(self) -> Any:
        """As a sensor finds it."""
        run = SimpleNamespace(is_finished=self.finished, is_success=self.status == "succeeded")
        return SimpleNamespace(dagster_run=run, end_time=self.ended_at and self.ended_at.timestamp())


@dataclass(frozen=True)
class FakeRelease:
    """A release with a version for each route."""

    id: str
    roles: dict[str, int]

    @property
    def contents(self) -> dict[str, str]:
        """Each model with a hash of its content: the Python steps are those of every release."""
        return {name: self.id if name in {ENSEMBLE, PREDICTOR} else "same" for name in MODELS}

    @property
    def versions(self) -> dict[str, Any]:
        """Of each version, its family."""
        return {str(version): {"family": "toy"} for version in self.roles.values()}


class Files:
    """`ModelRepository` in memory: every change is whole, as a rename is."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.release: str | None = None
        self.routes: dict[str, str] = {}  # of each release on disk
        self.holder: greenlet | None = None

    def ensure(self) -> None:
        """It is there."""

    @property
    def route(self) -> str | None:
        """Of the linked release."""
        return self.routes.get(self.release or "")

    @property
    def has_fallback(self) -> bool:
        """Whether the linked release has one; before the first, as if it had."""
        return self.release is None or "fallback" in self.manifest(self.release).roles

    def standing(self) -> Standing:
        """Release and route."""
        return Standing(self.release, self.route)

    def has(self, release: str) -> bool:
        """Whether the release is on disk."""
        return release in self.routes

    def manifest(self, release: str) -> FakeRelease:
        """What a release says of itself."""
        return self.world.releases[release]

    def folder(self, release: str) -> str:
        """Its name will do."""
        return release

    def write_route(self, route: str, release: str | None = None) -> None:
        """One rename."""
        self.routes[release or str(self.release)] = route
        self.world.step(Step.PROMOTE_ROUTE)

    def point(self, release: str) -> None:
        """One rename."""
        if release == "empty":
            self.release = None
        elif self.release != release:
            self.release = release
            self.world.step(Step.PROMOTE_LINK)

    def touch(self, model: str) -> None:
        """Nothing to do."""

    def remove_old(self, keep: int) -> None:
        """All are kept."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for the lock; the death of its holder gives it back."""
        while self.holder is not None and not self.holder.dead:
            self.world.pause()
        self.holder = greenlet.getcurrent()
        try:
            yield
        finally:
            self.holder = None

    def is_locked(self) -> bool:
        """Whether somebody has it."""
        return self.holder is not None and not self.holder.dead


class Server:
    """Triton: serves what it has loaded; takes in what the files say when told to, or when it starts."""

    url = "http://triton"

    def __init__(self, world: "World") -> None:
        self.world = world
        self.up = True
        self.loaded: dict[str, dict[str, str]] = {}

    def start(self) -> None:
        """Serve what the files say."""
        self.up, self.loaded = True, {}
        if self.world.files.release is not None:
            for name in MODELS:
                self._take(name)

    def _take(self, name: str) -> None:
        release = self.world.releases[str(self.world.files.release)]
        self.loaded[name] = {CONTENT: release.contents[name]}
        if name == PREDICTOR:
            route = str(self.world.files.route)
            self.loaded[name] |= {"route": route, "version": str(release.roles[route])}

    def _asked(self) -> None:
        self.world.pause()
        if not self.up:
            raise TransientFailure("Triton does not answer")

    def ready(self) -> bool:
        """Whether the ensemble takes requests."""
        self.world.pause()
        return self.up and ENSEMBLE in self.loaded

    def route(self) -> str | None:
        """Of the predictor that is loaded."""
        self._asked()
        return self.loaded.get(PREDICTOR, {}).get("route")

    def parameters(self, name: str) -> dict[str, str]:
        """Of a model that is loaded."""
        self._asked()
        return dict(self.loaded.get(name, {}))

    def load(self, name: str) -> None:
        """Take in what the files say now. The ensemble comes with its steps."""
        self._asked()
        if self.world.chance(self.world.faults.refused_load):
            raise PermanentFailure(f"{name} does not load")
        for model in MODELS if name == ENSEMBLE else (name,):
            self._take(model)
        self._asked()

    def loaded_models(self) -> set[str]:
        """What is loaded."""
        self._asked()
        return set(self.loaded)

    def unload(self, name: str) -> None:
        """Serve it no more."""
        self._asked()
        self.loaded.pop(name, None)


@dataclass
class Faults:
    """How often things go wrong, each a probability at each step."""

    kill: float = 0.04
    server: float = 0.02
    database: float = 0.02
    webhook: float = 0.02
    clock: float = 0.02
    refused_load: float = 0.03

    @classmethod
    def none(cls) -> "Faults":
        """A world without them."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Webhook:
    """A channel of alerts. A message may arrive and its sender die before it has noted that."""

    name = "webhook"

    def __init__(self, world: "World") -> None:
        self.world = world
        self.up = True
        self.got: list[Message] = []

    def send(self, message: Message) -> None:
        """Take the message, or fail."""
        self.world.pause()
        if not self.up:
            raise TransientFailure("webhook: 503")
        self.got.append(message)
        self.world.pause()


@dataclass
class Instance:
    """What sensors ask of Dagster's instance."""

    world: "World"

    def get_run_records(self, filters: dg.RunsFilter) -> list[Any]:
        """Runs of one purpose."""
        self.world.pause()
        return [run.record() for run in self.world.runs if run.purpose == filters.tags[PURPOSE]]

    def get_latest_materialization_event(self, _: dg.AssetKey) -> None:
        """What a page shows: pages are not played here."""
