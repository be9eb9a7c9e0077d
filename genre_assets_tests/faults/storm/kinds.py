"""The faults: SIGKILL or SIGSTOP to a process that the stack, a run or a command in flight consists of."""

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from genre_assets.stack.services.triton_watchdog import model_of
from genre_assets.stack.supervision.run_files import supervisor_pid, written_state
from genre_assets.triton.protocol import step_of

COMMAND = "command"
SUPERVISOR = "supervisor"
RUN = "process of a run"
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)


@dataclass(frozen=True)
class Fault:
    """A signal for one process. `target` names what it is: the kind that the table counts by."""

    target: str
    number: signal.Signals
    victim: psutil.Process

    @property
    def kind(self) -> str:
        """As the table names it."""
        return f"{self.target} {self.number.name}"

    def strike(self) -> bool:
        """Send the signal; False if the process has ended meanwhile."""
        try:
            self.victim.send_signal(self.number)
        except psutil.NoSuchProcess:
            return False
        return True

    @property
    def lasts(self) -> bool:
        """Whether the process is still there as the fault left it: stopped, or not yet dead."""
        try:
            status = self.victim.status()
        except psutil.NoSuchProcess:
            return False
        if self.number == signal.SIGSTOP:
            return status == psutil.STATUS_STOPPED
        return status != psutil.STATUS_ZOMBIE and self.victim.is_running()

    def lift(self) -> None:
        """Let a stopped process go on."""
        try:
            self.victim.send_signal(signal.SIGCONT)
        except psutil.NoSuchProcess:
            return


def choose(
    home: Path, command: int | None, chance: random.Random, *, numbers: tuple[signal.Signals, ...] = SIGNALS
) -> Fault:
    """Draw a target among those that live now, then one of its processes, then the signal.

    Every target is as likely as another, however many processes it has. `command` is the process id of the command in
    flight.
    """
    found: dict[str, list[psutil.Process]] = {}
    for target, process in targets(home, command):
        found.setdefault(target, []).append(process)
    target = chance.choice(sorted(found))
    victim = chance.choice(sorted(found[target], key=lambda process: process.pid))
    return Fault(target, chance.choice(numbers), victim)


def targets(home: Path, command: int | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """What can be struck: the supervisor, each service's first process, those behind it, the runs', the command's."""
    state = written_state(home)
    if (supervisor := supervisor_pid(home)) is not None:
        yield SUPERVISOR, psutil.Process(supervisor)
    for name, service in state.get("services", {}).items():
        yield from _family(service["pid"], name)
    yield from _family(command, COMMAND)


def _family(pid: int | None, name: str) -> Iterator[tuple[str, psutil.Process]]:
    if pid is None or pid == os.getpid():
        return
    try:
        parent = psutil.Process(pid)
        if parent.status() != psutil.STATUS_ZOMBIE:
            yield name, parent
        for child in parent.children(recursive=True):
            named = _named(child)
            if named is not None:
                yield (RUN if named == RUN else f"{name}: {named}"), child
    except psutil.NoSuchProcess:
        return


def _named(child: psutil.Process) -> str | None:
    """What a process behind another is, from its command line; None for one that has ended."""
    try:
        words = " ".join(child.cmdline())
        if child.status() == psutil.STATUS_ZOMBIE or not words:
            return None
    except psutil.Error:
        return None
    if "resource_tracker" in words:
        return "resource tracker"
    if "multiprocessing" in words and "spawn" in words:
        return RUN
    if words.startswith("postgres:"):
        background = ("checkpointer", "writer", "launcher", "logger", "io worker")
        return "background process" if any(word in words for word in background) else "connection"
    model = model_of(words + " ")
    return (step_of(model) if model else None) or ("code server" if "api grpc" in words else "child")
