"""The world that the control loop lives in: a clock, a server, files, runs, a webhook; everything in it can fail.

Processes are greenlets. Whatever they do to the world (a transaction, a call of the server, a named step) comes back
here first, and the schedule decides who goes on, who dies, and what breaks.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from greenlet import GreenletExit, greenlet

from genre_assets.inference.spool import PredictionLog
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.settings import Settings
from genre_assets.steps import Step
from genre_assets_tests.simulator.parts import START, Clock, FakeRelease, Faults, Files, Instance, Run, Server, Webhook
from genre_assets_tests.simulator.sqlite_database import AWAY, SqliteDatabase


@dataclass
class World:
    """All of it, in one place, so that a schedule can break any part."""

    rng: random.Random
    database: SqliteDatabase
    settings: Settings
    faults: Faults = field(default_factory=Faults)
    log: PredictionLog = field(init=False)
    alerts: Alerts = field(init=False)

    def __post_init__(self) -> None:
        self.main = greenlet.getcurrent()
        self.files = Files(self)
        self.server = Server(self)
        self.webhook = Webhook(self)
        self.instance = Instance(self)
        self.releases: dict[str, FakeRelease] = {}
        self.newest = ""
        self.runs: list[Run] = []
        self.run_keys: set[str] = set()
        self.database_up = True
        self.drifting = False
        self.drifted_items: set[str] = set()
        self.asked: set[str] = set()  # ids of the items that clients asked
        self.answered: set[str] = set()  # of those that they got an answer to
        self.latest = START
        self.by_version: set[tuple[str, int]] = set()  # route and version of every answer
        self.verdicts: dict[str, Any] = {}  # of each judged window, as it was first seen
        self.cursors: dict[str, str] = {}  # of the sensors
        self.trace: list[tuple[datetime, tuple[object, ...]]] = []
        Clock.moment = START

    def chance(self, probability: float) -> bool:
        """True as often as that."""
        return probability > 0 and self.rng.random() < probability

    def note(self, *said: object) -> None:
        """One line of the trace, for people who replay a seed."""
        self.trace.append((Clock.moment, said))

    def pause(self) -> None:
        """Let the schedule decide who goes on; a process may die here."""
        if greenlet.getcurrent() is not self.main:
            self.main.switch()

    def step(self, step: Step) -> None:
        """A named step is done. Within the log's own lock only its process may die, for nobody else could go on."""
        self.note("step", step)
        if step not in {Step.SHIP_APPEND, Step.SHIP_CLOSE}:
            self.pause()
        elif self.chance(self.faults.kill):
            self.note("killed in the log")
            raise GreenletExit

    def before_transaction(self) -> None:
        """A transaction is about to begin."""
        self.pause()
        if not self.database_up:
            raise AWAY

    def after_transaction(self) -> None:
        """One was committed."""
        self.pause()

    def publish(self) -> None:
        """A new release, with versions of its own; every second has no fallback."""
        number = len(self.releases) + 1
        self.newest = f"r{number}"
        roles = {"champion": 10 * number + 1, "fallback": 10 * number + 2}
        if number % 2 == 0:
            del roles["fallback"]
        self.releases[self.newest] = FakeRelease(self.newest, roles)

    def advance(self, by: timedelta) -> None:
        """Time passes (or jumps, forwards or back)."""
        Clock.moment = Clock.moment + by
        self.latest = max(self.latest, Clock.moment)

    def ask_for(self, job: str, purpose: str, config: dict[str, Any], key: str = "") -> None:
        """Ask for a run. Between the look for its key and its creation another daemon may do the same."""
        if key and key in self.run_keys:
            return
        self.pause()
        self.run_keys.add(key)
        self.runs.append(Run(job, purpose, config))
        self.note("run asked for:", job, purpose)


Process = Callable[[World], None]
