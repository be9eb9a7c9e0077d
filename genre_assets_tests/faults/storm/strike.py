"""One storm on a stack that is up: strike, see it heal, ask the invariants, again and again; then calm, and ask all."""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genre_assets.errors import GenreError
from genre_assets.settings import Settings
from genre_assets.stack import local
from genre_assets.stack.supervision.run_files import written_state
from genre_assets_tests.faults.storm import invariants
from genre_assets_tests.faults.storm.kinds import COMMAND, SUPERVISOR, Fault, choose
from genre_assets_tests.faults.storm.report import Outcome, Result
from genre_assets_tests.faults.storm.workload import Commands, Predictor

ALLOWED = 60.0  # seconds to heal or to be reported
PATIENCE = 180.0  # seconds to heal at all, before the next fault
STEADY = 6.5  # every light healthy for so long: a light can be the last one of the process that was struck
LOOK = 1.0  # seconds between two looks at the lights
AFTER = 60.0  # seconds for rows and routes to come right after each fault
CALM = 240.0  # seconds for rows, routes and runs to come right at the end


class Storm:
    """A workload, a random sequence of faults, and what came of each."""

    def __init__(self, settings: Settings, predictor: Predictor, commands: Commands, *, seed: int) -> None:
        self.settings, self.predictor, self.commands = settings, predictor, commands
        self.chance = random.Random(seed)
        self.runs = invariants.Runs(settings)
        self.result = Result(seed)
        self.began = time.monotonic()

    def draw(self) -> Fault:
        """The next fault by the seed."""
        return choose(self.settings.home, self.commands.pid, self.chance)

    def strike(self, fault: Fault) -> Outcome | None:
        """One fault until it is healed or the patience ends; None if its process had ended already."""
        failed = len(self.predictor.counts.failed)
        if not fault.strike():
            return None
        began = time.monotonic()
        reported, reported_at, seconds, well_since = "", PATIENCE, None, None
        if fault.target == COMMAND:  # nobody heals what a person runs: Ctrl-Z and fg
            time.sleep(1)
            fault.lift()
        while seconds is None and time.monotonic() - began < PATIENCE:
            named = self.lights()
            if named and not reported:
                reported, reported_at = ", ".join(named), time.monotonic() - began
                if fault.target == SUPERVISOR:  # nobody restarts it but who reads this: the init system, or a person
                    threading.Thread(target=self._up, daemon=True).start()
            if named or fault.lasts or not self._replaced(fault):
                well_since = None
            elif well_since is None:
                well_since = time.monotonic()
            elif time.monotonic() - well_since >= STEADY and not self.troubles():
                seconds = well_since - began
            time.sleep(LOOK)
        fault.lift()
        in_time = (seconds is not None and seconds <= ALLOWED) or reported_at <= ALLOWED
        number = len(self.result.outcomes) + 1
        outcome = Outcome(number, fault.kind, seconds, reported, in_time, len(self.predictor.counts.failed) - failed)
        self.result.outcomes.append(outcome)
        if seconds is None:
            self.result.broken.append(f"fault {number}, {fault.kind}: not healed in {PATIENCE:.0f} s ({reported})")
        self._look_at_runs(number)
        self._in_the_end(f"after fault {number} books, files and Triton name one route", self._apart_now, AFTER)
        answered = list(self.predictor.counts.answered)  # those that come while we ask are the next fault's
        self._in_the_end(f"after fault {number} each answered item has one row", lambda: self._rows(answered), AFTER)
        self._count()
        return outcome

    def _up(self) -> None:
        subprocess.run([self.commands.program, "up"], env=self.commands.environment, capture_output=True, check=False)

    def _replaced(self, fault: Fault) -> bool:
        """Whether another process has the place of a service's killed one; True of every other fault."""
        if fault.number != signal.SIGKILL:
            return True
        service = written_state(self.settings.home).get("services", {}).get(fault.target)
        return service is None or (service["pid"] is not None and service["pid"] != fault.victim.pid)

    def lights(self) -> list[str]:
        """The services whose light is not healthy, as the command finds them, but in this process.

        The command itself costs a second of a core, which what is to heal would wait for; it is asked at the end (`troubles`).
        """
        return [
            f"{name} {service['light']}"
            for name, service in local.status(self.settings).services.items()
            if not service["healthy"]
        ]

    def troubles(self) -> list[str]:
        """The services whose light is not healthy, by the command; what it said if it said no JSON."""
        asked: list[str] = [self.commands.program, "status", "--json"]
        try:
            done = subprocess.run(
                asked, env=self.commands.environment, capture_output=True, text=True, timeout=30, check=False
            )
        except subprocess.TimeoutExpired:
            return ["status does not answer"]
        if done.returncode == 0:
            return []
        try:
            services: dict[str, Any] = json.loads(done.stdout)["services"]
        except ValueError:
            return [f"status: {done.stderr.strip()[-200:]}"]
        return [f"{name} {service['light']}" for name, service in services.items() if not service["healthy"]]

    def calm(self) -> Result:
        """End the workload, do its work once more undisturbed, and ask every invariant."""
        died = [thread.name for thread in (self.commands, self.predictor) if thread.ident and not thread.is_alive()]
        self.end()
        if died or not self.predictor.counts.answered:
            self.result.broken.append(f"the workload did not work: no answer at all, or a dead thread: {died}")
        self._count()
        self._in_the_end("every light is healthy", lambda: self.troubles() or None)
        self._in_the_end(
            "no run in progress without a process", lambda: list(self.runs.since) if self.runs.look() else None
        )
        for words in self._work():
            done = self.commands.command(*words)
            if done.code != 0:
                said = " ".join(done.said.split())
                self.result.broken.append(
                    f"afterwards `genre-assets {' '.join(words)}` ended with code {done.code}: {said}"
                )
        self._in_the_end("books, files and Triton name one route", self._apart)
        answered = list(self.predictor.counts.answered)
        self._in_the_end("each answered item has one row", lambda: self._rows(answered))
        self._count()
        self.result.finished = True
        return self.result

    def end(self) -> None:
        """End the workload."""
        self.commands.end()
        self.predictor.end()

    def _work(self) -> list[tuple[str, ...]]:
        ingests = [("ingest", str(folder)) for folder in self.commands.folders]
        return [*ingests, ("run", "build", "--force"), ("promote", "champion", "--reason", "after the storm")]

    def _apart(self) -> object:
        routes = invariants.routes(self.settings)
        return None if routes.agree else routes

    def _apart_now(self) -> object:
        """A move that a command has just asked for may be open."""
        routes = invariants.routes(self.settings)
        return None if routes.together else routes

    def _rows(self, answered: list[str]) -> object:
        rows = invariants.rows(self.settings, self.predictor.prefix, answered)
        self.result.lost, self.result.doubled = len(rows.lost), len(rows.doubled)
        return (rows.lost[:5], rows.doubled[:5]) if rows.lost or rows.doubled else None

    def _in_the_end(self, what: str, problem: Callable[[], object], seconds: float = CALM) -> None:
        """Ask until there is no problem; note the last one when the time for it is over."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = problem()
            except GenreError as error:
                found = error
            if not found:
                return
            if time.monotonic() > end:
                self.result.broken.append(f"not in {seconds:.0f} s: {what}: {found}")
                return
            time.sleep(1)

    def _look_at_runs(self, number: int) -> None:
        try:
            for run in self.runs.look():
                self.result.broken.append(f"after fault {number}: run {run} is in progress without a process")
        except GenreError:
            return  # Dagster is away: looked at after the next fault, and at the end

    def _count(self) -> None:
        counts, done = self.predictor.counts, list(self.commands.done)
        self.result.commands, self.result.commands_struck = len(done), sum(one.code != 0 for one in done)
        self.result.answered, self.result.refused = len(counts.answered), len(counts.refused)
        self.result.failed, self.result.longest_run_without_process = len(counts.failed), self.runs.longest
        self.result.minutes = (time.monotonic() - self.began) / 60


def folders(audio: Path, target: Path, *, count: int = 3) -> list[Path]:
    """Small folders for the ingest commands, each a few new clips, composed for this storm."""
    import numpy as np

    from genre_assets.demo.instruments import RATE
    from genre_assets.demo.synthetic import compose
    from genre_assets.demo.traffic import wav_bytes
    from genre_assets.genres import GENRES

    made = []
    for number in range(count):
        folder = target / f"more-{number}"
        for genre in [genre for genre in GENRES if (audio / genre).is_dir()][:2]:
            (folder / genre).mkdir(parents=True, exist_ok=True)
            clip = compose(genre, 500 + number, seed=number, seconds=10).astype(np.float32)
            (folder / genre / f"{genre}.storm{number}.wav").write_bytes(wav_bytes(clip, RATE))
        made.append(folder)
    return made
