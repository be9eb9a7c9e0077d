"""One thread that keeps one service alive: start, wait for health, tend, restart with back-off, stop."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from genre_assets.errors import GenreError
from genre_assets.stack.processes import MARKER, dies_with_parent, end_session
from genre_assets.stack.service import Health, Service, check_port_free

State = Literal["waiting", "starting", "healthy", "unhealthy", "restarting", "failed", "stopped"]

STARTS_BEFORE_GIVING_UP = 4  # a service that never became healthy; one that once was is restarted for ever
LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Standing:
    """Where a service stands, for the state file."""

    state: State = "waiting"
    why: str = ""
    pid: int | None = None
    restarts: int = 0


class Keeper(threading.Thread):
    """Keeps one service. The thread outlives the process: the kernel ties a child's death signal to it."""

    def __init__(self, service: Service, ready: Callable[[str], bool], changed: Callable[[], None]) -> None:
        super().__init__(name=f"keeper-{service.name}", daemon=True)
        self.service = service
        self.ready = ready
        self.changed = changed
        self.standing = Standing()
        self.ending = threading.Event()
        self.was_healthy = False

    def run(self) -> None:
        """Until told to end: wait for what the service needs, then start and watch it again and again."""
        while not self.ending.is_set() and not all(self.ready(need) for need in self.service.needs):
            self.ending.wait(0.1)
        starts = 0
        while not self.ending.is_set():
            starts += 1
            reason = self._one_life()
            if self.ending.is_set():
                break
            if not self.was_healthy and starts >= STARTS_BEFORE_GIVING_UP:
                self._set(state="failed", why=reason, pid=None)
                self.ending.wait()
                break
            pause = min(LONGEST_PAUSE, 0.5 * 2 ** min(starts, 8)) if not self.was_healthy else 1.0
            self._set(state="restarting", why=reason, pid=None, restarts=self.standing.restarts + 1)
            self.ending.wait(pause)
        self._set(state="stopped", pid=None)

    def end(self) -> None:
        """Ask the thread to stop the service and finish."""
        self.ending.set()

    def _one_life(self) -> str:
        """Start the process and stay with it until it is gone; returns why it ended."""
        self._set(state="starting", why="")
        try:
            self.service.cleanup()
            for setting, port in self.service.ports.items():
                check_port_free(self.service.settings.host, port, setting)
            self.service.prepare()
            process = self._spawn()
        except (GenreError, OSError) as error:
            return str(error)
        self._set(pid=process.pid)
        try:
            return self._watch(process)
        except GenreError as error:
            return str(error)
        finally:
            end_session(process, self.service.stop_signal, self.service.stop_timeout)
            self.service.cleanup()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        log = self.service.log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.service.environment(), MARKER: str(self.service.settings.home)}
        with log.open("ab") as output:
            return subprocess.Popen(
                [*dies_with_parent(), *self.service.command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.service.settings.home,
                start_new_session=True,
            )

    def _watch(self, process: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + self.service.start_timeout
        next_look = 0.0
        healthy_now = False
        while not self.ending.is_set():
            if process.poll() is not None:
                return f"the process ended with {process.returncode}; see {self.service.log}"
            if time.monotonic() >= next_look:
                health = self.service.health()
                if health.healthy and not healthy_now and not self.was_healthy:
                    self.service.started()
                healthy_now = health.healthy
                self._show(health)
                if not self.was_healthy and time.monotonic() > deadline:
                    return f"not healthy after {self.service.start_timeout:.0f} s: {health.why}; see {self.service.log}"
                next_look = time.monotonic() + (5.0 if healthy_now else 0.25)
            if healthy_now:
                self.service.tend(process.pid)
            self.ending.wait(1.0 if healthy_now else 0.1)
        return "stopped"

    def _show(self, health: Health) -> None:
        if health.healthy:
            self.was_healthy = True
            self._set(state="healthy", why="")
        else:
            self._set(state="unhealthy" if self.was_healthy else "starting", why=health.why)

    def _set(self, **changes: object) -> None:
        new = replace(self.standing, **changes)  # type: ignore[arg-type]
        if new != self.standing:
            self.standing = new
            self.changed()
