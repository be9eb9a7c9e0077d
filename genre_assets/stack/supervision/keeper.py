"""One thread that keeps one service alive: start, wait for health, tend, restart when dead, hung or wrong, stop."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from genre_assets.errors import GenreError
from genre_assets.processes import MARKER, dies_with_parent, end_session, stopped_members
from genre_assets.stack.supervision.lights import Light, Seen
from genre_assets.stack.supervision.service import Health, Service, check_port_free

State = Literal["waiting", "starting", "healthy", "unhealthy", "unknown", "restarting", "failed", "stopped"]

STARTS_BEFORE_GIVING_UP = 4  # a service that never became healthy; one that once was is restarted for ever
LONGEST_PAUSE = 30.0
CALM_SECONDS = 300.0  # after so long without a restart the pauses begin small again
STOPPED_SECONDS = 3.0  # a process that something stopped (SIGSTOP) for longer is as good as dead
LOOK_SECONDS = 1.0
AWAY_SECONDS = 3.0  # a pause that took so much longer: this process was suspended, and the rest may have been too


@dataclass(frozen=True)
class Standing:
    """Where a service stands, for the state file. `checked_at` is in seconds since 1970."""

    state: State = "waiting"
    why: str = ""
    pid: int | None = None
    restarts: int = 0
    last_restart: str = ""  # why it was restarted last
    checked_at: float = 0.0


class Keeper(threading.Thread):
    """Keeps one service. The thread outlives the process: the kernel ties a child's death signal to it."""

    def __init__(self, service: Service, ready: Callable[[str], bool], changed: Callable[[], None]) -> None:
        super().__init__(name=f"keeper-{service.name}", daemon=True)
        self.service = service
        self.ready = ready
        self.changed = changed
        self.standing = Standing()
        self.ending = threading.Event()
        self.halting = threading.Event()  # asked to stop the process, for now
        self.halted = threading.Event()  # has done so
        self.was_healthy = False

    def run(self) -> None:
        """Until told to end: wait for what the service needs, then start and watch it again and again."""
        while not self.ending.is_set() and not all(self.ready(need) for need in self.service.needs):
            self.ending.wait(0.1)
        starts, recent = 0, 0
        while not self.ending.is_set():
            starts += 1
            began = time.monotonic()
            try:
                reason = self._one_life()
            except Exception as error:  # noqa: BLE001  # whatever it was, a service without its keeper stays dead
                reason = f"{type(error).__name__}: {error}"
            if self.ending.is_set():
                break
            if self.halting.is_set():  # wanted, and no restart that anybody must know of
                self._stay_halted()
                continue
            if not self.was_healthy and starts >= STARTS_BEFORE_GIVING_UP:
                self._set(state="failed", why=reason, pid=None)
                self.ending.wait()
                break
            recent = 1 if time.monotonic() - began > CALM_SECONDS else recent + 1
            restarts = self.standing.restarts + 1
            self._set(state="restarting", why=reason, pid=None, restarts=restarts, last_restart=reason)
            self.ending.wait(min(LONGEST_PAUSE, 0.25 * 2 ** min(recent, 8)))
        self._set(state="stopped", pid=None)

    def end(self) -> None:
        """Ask the thread to stop the service and finish."""
        self.ending.set()

    def halt(self) -> None:
        """Ask the thread to stop the process until `go_on`, and wait until it is gone."""
        self.halting.set()
        while not (self.halted.wait(0.1) or self.ending.is_set() or self.standing.state in {"failed", "stopped"}):
            pass

    def go_on(self) -> None:
        """Start the service again, with the settings of now."""
        self.halting.clear()

    def _stay_halted(self) -> None:
        self._set(state="starting", why="settings have changed", pid=None)
        self.halted.set()
        while self.halting.is_set() and not self.ending.is_set():
            self.ending.wait(0.1)
        self.halted.clear()

    def _one_life(self) -> str:
        """Start the process and stay with it until it is gone, hung or wrong for too long; returns why it ended."""
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
        light = Light(self.service.health, interval=self.service.light_seconds, deadline=self.service.light_deadline)
        try:
            return self._watch(process, light)
        except GenreError as error:
            return str(error)
        finally:
            light.end()
            end_session(process, self.service.stop_signal, self.service.stop_timeout)
            self.service.cleanup()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, **self.service.environment(), MARKER: str(self.service.settings.home)}
        with self.service.output() as output:
            return subprocess.Popen(
                [*dies_with_parent(), *self.service.command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.service.settings.home,
                start_new_session=True,
            )

    def _watch(self, process: "subprocess.Popen[bytes]", light: Light) -> str:
        began = time.monotonic()
        right_at = began  # when it was last seen to be right in this life
        well = False  # whether it was, in this life
        stopped_since = began  # since when some process of the group has been stopped; now if none is
        while not self.ending.is_set() and not self.halting.is_set():
            now = time.monotonic()
            if not all(self.ready(need) for need in self.service.needs):
                right_at = now  # wrong because of another: a restart would not help, and may cost runs
            if process.poll() is not None:
                return f"the process ended with {process.returncode}; see {self.service.log}"
            seen = light.seen()
            if seen is not None:
                self._show(seen.health)
                if seen.health.healthy:
                    well, right_at = True, now
            if now - right_at > (self.service.wrong_seconds if well else self.service.start_timeout):
                return self._unhealthy(now - right_at, seen)
            stopped = stopped_members(process.pid)
            stopped_since = stopped_since if stopped else now
            if self._stopped_for_good(process.pid, stopped, now - stopped_since):
                return f"process {stopped[0]} was stopped and did not go on"
            if well:
                self.service.tend(process.pid)
            if self._pause(LOOK_SECONDS if well else 0.1) > LOOK_SECONDS + AWAY_SECONDS:
                light.forgive()
                right_at = stopped_since = time.monotonic()
        return "stopped"

    def _pause(self, seconds: float) -> float:
        """Wait; returns for how long it really was: far longer if this process was stopped, or the machine slept."""
        began = time.monotonic()
        self.ending.wait(seconds)
        return time.monotonic() - began

    def _unhealthy(self, seconds: float, seen: Seen | None) -> str:
        why = seen.health.why if seen else "it never answered"
        return f"not healthy for {seconds:.0f} s: {why}; see {self.service.log}"

    def _stopped_for_good(self, pid: int, stopped: list[int], seconds: float) -> bool:
        """Whether members of the process's group have been stopped for too long, and the service cannot help them."""
        return seconds > STOPPED_SECONDS and self.service.tend_stopped(pid, stopped)

    def _show(self, health: Health) -> None:
        if health.healthy:
            if not self.was_healthy:
                self.service.started()
            self.was_healthy = True
            self._set(state="healthy", why=health.why)
        elif self.was_healthy:
            self._set(state="unhealthy" if health.known else "unknown", why=health.why)
        else:
            self._set(state="starting", why=health.why)

    def _set(self, **changes: object) -> None:
        new = replace(self.standing, **changes, checked_at=time.time())  # type: ignore[arg-type]
        # The time alone is written every few seconds, so that readers know how old the rest is.
        told = replace(new, checked_at=self.standing.checked_at) != self.standing
        if told or new.checked_at - self.standing.checked_at > self.service.light_seconds:
            self.standing = new
            self.changed()
