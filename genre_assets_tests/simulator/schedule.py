"""One schedule: a seed decides who goes on, who dies and what breaks, until the faults stop and all must be well."""

import logging
import os
import pkgutil
import random
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path

from greenlet import greenlet

from genre_assets import steps
from genre_assets.inference.spool import PredictionLog
from genre_assets.migrations import versions
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings, load_settings
from genre_assets_tests.simulator import processes
from genre_assets_tests.simulator.invariants import ALWAYS, IN_THE_END, Invariant
from genre_assets_tests.simulator.parts import ROUTES, Clock, Faults, Run
from genre_assets_tests.simulator.sqlite_database import SqliteDatabase
from genre_assets_tests.simulator.world import Process, World

STEPS = (20, 60)  # of a schedule before the faults stop, at least and at most: by its seed
QUIET_STEPS = 3000  # in which all must have become well after them
RUN = "run "  # and its number: the name of its process
MOMENTS = [timedelta(seconds=seconds) for seconds in (0.0, 0.1, 0.5, 2.0)]
PAUSE = timedelta(seconds=15)
FOR_RUNS = 0.85  # of the steps after the faults, while runs are in progress: the end waits for them
_MODULES = sorted(found.name for found in pkgutil.iter_modules(versions.__path__))
VERSIONS = [
    upgrade for name in _MODULES if (upgrade := import_module(f"{versions.__name__}.{name}").UPGRADE)
]  # one that makes functions of PostgreSQL alone upgrades no table
LIVING: dict[str, Process] = {
    "client": processes.client,
    "shipper": processes.shipper,
    "daemon": processes.daemon,
    "second daemon": processes.daemon,
    "person": processes.person,
}


@cache
def concerned(written: frozenset[str]) -> list[Invariant]:
    """Those that speak of one of the tables."""
    return [holds for holds, tables in ALWAYS.items() if not tables.isdisjoint(written)]


class Violated(AssertionError):
    """An invariant does not hold. The message names the seed, the invariant and the last lines of the trace."""


@dataclass
class Simulator:
    """What schedules share: a database, a folder for the spool, the settings."""

    database: SqliteDatabase
    folder: Path
    settings: Settings
    current: World | None = field(default=None, init=False)

    def world(self) -> World:
        """The world of the schedule that runs."""
        assert self.current is not None
        return self.current

    def run(self, seed: int) -> World:
        """Run one schedule. Raises `Violated`."""
        self.database.empty()
        shutil.rmtree(self.folder, ignore_errors=True)
        world = self.current = World(random.Random(seed), self.database, self.settings)
        self.database.before, self.database.after = world.before_transaction, world.after_transaction
        world.log = PredictionLog(
            self.folder / "spool", self.database, max_bytes=2**20, retention_days=36_500, background=False
        )
        world.alerts = processes.InlineAlerts(self.database, [world.webhook], repeat=timedelta(minutes=10))
        try:
            _Schedule(world, seed).play(world.rng.randint(*STEPS))
        finally:
            close(world)
        return world


class _Schedule:
    """The hand that moves the world on."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.rng = world, seed, world.rng
        self.wanted = dict(LIVING)
        self.living: dict[str, greenlet] = {}
        self.begun = 0  # runs that have got a process
        self.complete = False  # whoever should live does
        self.quiet = False  # the faults are over
        self.prepare()

    def prepare(self) -> None:
        """A world in which something is about to happen; now and then one before the first release."""
        world = self.world
        world.publish()
        if world.chance(0.05):
            world.runs.append(Run("promote", "build-r1", {"ops": {"live_ensemble": {"config": {}}}}))
            return
        route = self.rng.choice(ROUTES)
        world.files.release, world.files.routes = "r1", {"r1": route}
        world.server.start()
        route_state.confirm(self.world.database, "champion", actor="build", reason="a new release")
        if route == "fallback":
            route_state.confirm(self.world.database, "fallback", actor="person", reason="by hand")
        world.drifting = world.chance(0.5)
        world.advance(timedelta(seconds=60))
        for number in range(self.rng.randint(0, 3)):
            self.judged_window(number, route, "detected" if route == "champion" else "ok")

    def judged_window(self, number: int, route: str, level: str) -> None:
        """A window of the route that serves, with its verdict."""
        row = str(uuid.UUID(int=number))
        at = Clock.moment - timedelta(seconds=30 - 2 * number)
        version = self.world.releases["r1"].roles[route]
        self.world.by_version.add((route, version))
        self.world.database.execute(
            """INSERT INTO drift_windows (id, route, version, feature_set_version, opened_at, first_id, closed_at, last_id,
                closed_by, rows, items, judged_at, level, reason, reference_version)
            VALUES (%s, %s, %s, '1', %s, %s, %s, %s, 'full', 4, 4, %s, %s, 'known', 1)""",
            (f"w{number}", route, version, at, row, at, row, at, level),
        )

    def play(self, count: int) -> None:
        world = self.world
        for _ in range(count):
            self.break_something()
            self.step()
        world.faults, world.database_up, world.webhook.up = Faults.none(), True, True
        world.drifting = False
        Clock.moment = max(Clock.moment, world.latest)
        self.end("person")
        self.end("client")
        self.quiet = True
        world.note("the faults stop")
        for number in range(QUIET_STEPS):
            self.step()
            if number % 10 == 9:
                world.advance(PAUSE)
                if all(holds(world) is None for holds in IN_THE_END):
                    return
        self.look(IN_THE_END)

    def step(self) -> None:
        """Let one process go on to its next step."""
        world = self.world
        self.begin_what_is_not_there()
        world.advance(self.rng.choice(MOMENTS))
        chosen = self.choose()
        chosen.switch()
        while world.database.inside:  # a transaction is one step, but one may die in it
            if world.chance(world.faults.kill / 10):
                world.note("killed in a transaction")
                chosen.throw()
            else:
                chosen.switch()
        self.complete &= not chosen.dead
        if written := world.database.written:
            self.look(concerned(frozenset(written)))
            written.clear()

    def choose(self) -> greenlet:
        """Anybody. Once the faults are over mostly a run, for it is the runs that the end waits for."""
        everybody = [*self.living.values()]
        if self.quiet and len(everybody) > len(self.wanted) and self.rng.random() < FOR_RUNS:
            runs = [process for name, process in self.living.items() if name.startswith(RUN)]
            everybody = runs or everybody
        return everybody[int(self.rng.random() * len(everybody))]

    def begin_what_is_not_there(self) -> None:
        """The supervisor restarts what died; Dagster starts runs, one promotion or drift run of a purpose at a time."""
        world = self.world
        if not self.complete:
            for name in [name for name, process in self.living.items() if process.dead]:
                del self.living[name]
            for name, process in self.wanted.items():
                if name not in self.living:
                    self.living[name] = greenlet(lambda process=process: process(world))
            self.complete = True
        if not world.server.up and world.chance(0.2):
            world.server.start()
            world.note("the server is back, on", world.server.loaded.get("predictor"))
        for number in range(self.begun, len(world.runs)):
            run = world.runs[number]
            run.worker = self.living[f"{RUN}{number}"] = greenlet(lambda run=run: processes.work(world, run))
            run.status = "starting"
        self.begun = len(world.runs)

    def break_something(self) -> None:
        """By chance."""
        world, faults = self.world, self.world.faults
        if world.chance(faults.kill):
            name = self.rng.choice(list(self.living)) if self.living else ""
            if name:
                self.kill(name)
        if world.chance(faults.server) and world.server.up:
            world.server.up = False
            world.note("the server dies")
        if world.chance(faults.database):
            world.database_up = not world.database_up
            world.note("the database is", "up" if world.database_up else "away")
        if world.chance(faults.webhook):
            world.webhook.up = not world.webhook.up
        if world.chance(faults.clock):
            seconds = self.rng.choice([-600.0, -5.0, 30.0, 600.0])
            world.advance(timedelta(seconds=seconds))
            world.note("the clock jumps by", seconds)

    def kill(self, name: str) -> None:
        """SIGKILL: nothing of it goes on, its locks are given back."""
        self.world.note("killed:", name)
        self.living.pop(name).throw()
        self.complete = False
        if name in {"client", "shipper"}:
            drop_open_segment(self.world.log)  # both live in the post-processor

    def end(self, name: str) -> None:
        """For good."""
        self.wanted.pop(name, None)
        if name in self.living:
            self.living.pop(name).throw()

    def look(self, invariants: Iterable[Invariant]) -> None:
        """Raise `Violated` with what does not hold."""
        for holds in invariants:
            said = holds(self.world)
            if said is not None:
                trace = "\n".join(f"{at:%H:%M:%S} {' '.join(map(str, said))}" for at, said in self.world.trace[-60:])
                raise Violated(f"seed {self.seed}: {holds.__name__}: {said}\n{trace}")


@contextmanager
def simulator() -> Iterator[Simulator]:
    """Everything that schedules share, with the made-up parts in their places."""
    shared = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="simulator-", dir=shared if os.access(shared, os.W_OK) else None))
    changes = {"window_size": 4, "window_minimum": 1, "window_max_seconds": 60.0, "bad_windows": 2, "of_windows": 3}
    changes |= {"clean_windows": 2, "min_dwell_seconds": 30.0}
    settings = load_settings(root).model_copy(update=changes)
    database = SqliteDatabase(lambda: Clock.moment, lambda: None, lambda: None)
    for version in VERSIONS:
        database.create(version)
    made = Simulator(database, root / "post-processor", settings)
    steps.watch(lambda step: made.world().step(step))
    logging.disable()
    try:
        with processes.patched(made.world):
            yield made
    finally:
        steps.watch(None)
        logging.disable(logging.NOTSET)
        shutil.rmtree(root, ignore_errors=True)


def drop_open_segment(log: PredictionLog) -> None:
    """What the death of its process does to a log: its file is closed, its lock given back."""
    if log._file is not None:
        os.close(log._file)
        log._file, log._path = None, log.folder / "none"


def close(world: World) -> None:
    """End every process of the world."""
    drop_open_segment(world.log)
