"""Mapping a function over many files on all cores, where no file can stop the others.

Decoders are native code that reads what strangers upload. Each file is therefore handled in a worker process; one that
crashes or hangs on a file is replaced, and that file alone gets the blame.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Generic, TypeVar

from genre_assets.audio.workers.process import READY
from genre_assets.errors import PermanentFailure
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

Task = TypeVar("Task")
Result = TypeVar("Result")

TASK_SECONDS = 90.0  # for one file, its download included
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Lost:
    """In the place of a result: the worker died of the task, or was stopped because it took too long."""

    why: str


def process_count(workers: int, tasks: int) -> int:
    """How many processes to use: `workers`, or one for each core if it is 0; never more than there are tasks."""
    return min(workers or len(os.sched_getaffinity(0)), tasks)


def map_files(
    function: Callable[[ObjectStore, Task], Result],
    tasks: Sequence[Task],
    *,
    settings: Settings,
    task_seconds: float = TASK_SECONDS,
) -> Iterator[tuple[Task, Result | Lost]]:
    """(task, `function(store, task)`) for every task, as they are completed; `Lost` if the task killed its worker.

    `function` and the tasks travel to other processes, which have a store of their own, from the settings. An
    exception that `function` raises is raised here.
    """
    pending = list(reversed(tasks))
    lost: list[Task] = []
    workers = [_Worker(function, settings) for _ in range(process_count(settings.workers, len(tasks)))]
    try:
        while pending or any(worker.busy for worker in workers):
            for worker in workers:
                if not worker.busy and pending:
                    worker.give(pending.pop())
            busy = [worker for worker in workers if worker.busy]
            patience = max(0.0, min(worker.started for worker in busy) + task_seconds - time.monotonic())
            ready = wait([worker.pipe for worker in busy], timeout=patience)
            for worker in busy:
                if worker.pipe in ready:
                    result = worker.result()
                elif time.monotonic() - worker.started > task_seconds:
                    result = Lost(f"not done in {task_seconds:g} s")
                    worker.restart()
                else:
                    continue
                if isinstance(result, Lost) and worker.task not in lost:
                    lost.append(worker.task)  # it may have been the machine: a second chance
                    pending.append(worker.task)
                else:
                    yield worker.task, result
    finally:
        for worker in workers:
            worker.stop()


# `map_files`, or what does the same elsewhere.
MapTasks = Callable[..., Iterator[tuple[Any, Any]]]


class _Worker(Generic[Task, Result]):
    """One process, and the task that it is busy with."""

    def __init__(self, function: Callable[[ObjectStore, Task], Result], settings: Settings) -> None:
        self.order = (settings, function)
        self.busy = False
        self.task: Any = None
        self.started = 0.0
        self._start()

    def _start(self) -> None:
        self.pipe: Connection
        self.pipe, theirs = Pipe()
        with theirs, _without_interrupts():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "genre_assets.audio.workers.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        with suppress(BrokenPipeError):  # `_await_start` finds that the process is gone
            self.pipe.send(self.order)
        self.is_ready = False

    def _await_start(self) -> None:
        try:
            self.is_ready = self.is_ready or self.pipe.recv() == READY
        except (EOFError, OSError):
            self.is_ready = False
        if not self.is_ready:
            raise PermanentFailure(
                f"a worker process does not start (exit code {self.process.wait(5)}); its message is in the log above"
            )

    def give(self, task: Task) -> None:
        self._await_start()
        self.task, self.busy, self.started = task, True, time.monotonic()
        with suppress(BrokenPipeError):  # `result` finds that the process is gone
            self.pipe.send(task)

    def result(self) -> Result | Lost:
        self.busy = False
        try:
            fine, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self.restart()
            return Lost(f"the worker process ended with {code}")
        if not fine:
            raise value
        result: Result = value
        return result

    def restart(self) -> int:
        """Replace the process; returns the exit code of the old one."""
        code = self.stop()
        self.busy = False
        self._start()
        return code

    def stop(self) -> int:
        self.pipe.close()
        if self.busy or not self.is_ready:
            self.process.kill()
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started in the block never sees Ctrl-C, which a terminal sends to all: its owner ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Progress:
    """Says every few seconds how many files are done, how fast, and how long the rest will take."""

    what: str
    total: int
    say: Callable[[str], object]
    every_seconds: float = 5.0
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._said = self.started

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """Files a second so far."""
        return self.done / self.seconds if self.seconds else 0.0

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if now - self._said >= self.every_seconds:
            self._said = now
            remaining = (self.total - self.done) / self.rate
            self.say(f"{self.what}: {self.done} of {self.total}, {self.rate:.1f} a second, {remaining:.0f} s to go")
