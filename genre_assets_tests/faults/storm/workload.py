"""What the stack does while it is struck: requests at a bounded rate, and commands one after the other."""

import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from genre_assets.demo.traffic import Request, Traffic

PHASE = 120  # requests of one kind in a row: clean, then drifted
PAUSE = 4.0  # seconds between two commands: two cores have the stack, its tests and the requests to carry
LONGEST_COMMAND = 600.0
SAID = 1000  # characters of a command's standard error that are kept


@dataclass
class Counts:
    """Request ids by what became of them."""

    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # answered with an error of the item
    failed: list[str] = field(default_factory=list)  # no answer: the client was told by an exception


class Predictor(threading.Thread):
    """Asks the ensemble through plain tritonclient, one item a request, each request with an id of its own."""

    def __init__(self, address: str, audio: Path, *, seed: int, per_second: float = 2.0) -> None:
        super().__init__(daemon=True)
        self.address, self.pause = address, 1 / per_second
        self.traffic = Traffic(audio, seconds=4, seed=seed)
        self.prefix = f"storm-{uuid.uuid4().hex[:8]}-"
        self.counts = Counts()
        self.ending = threading.Event()

    def run(self) -> None:
        """Ask until the end."""
        requests = self._requests()
        while not self.ending.wait(self.pause):
            self._ask(next(requests))

    def end(self) -> None:
        """Ask no more, and wait for the last answer."""
        self.ending.set()
        if self.ident is not None:
            self.join(60)

    def _requests(self) -> Iterator[Request]:
        while True:
            yield from islice(self.traffic.clean(), PHASE)
            yield from islice(self.traffic.drifted(), PHASE)

    def _ask(self, request: Request) -> None:
        import tritonclient.grpc
        from tritonclient.utils import InferenceServerException

        name = self.prefix + uuid.uuid4().hex
        audio = tritonclient.grpc.InferInput("AUDIO", [1, 1], "BYTES")
        audio.set_data_from_numpy(np.array([[request.audio]], dtype=object))
        try:
            with tritonclient.grpc.InferenceServerClient(self.address) as client:
                answer = client.infer("genre_ensemble", [audio], request_id=name, client_timeout=20)
        except InferenceServerException:
            self.counts.failed.append(name)
            return
        error = answer.as_numpy("ERROR").item()
        (self.counts.refused if error else self.counts.answered).append(name)


@dataclass(frozen=True)
class Done:
    """A command that has ended. `code` is negative if a signal ended it."""

    words: tuple[str, ...]
    code: int
    seconds: float
    said: str  # the end of what it said on standard error


class Commands(threading.Thread):
    """Runs commands one after the other, in an order drawn by the seed; `pid` is of the one in flight."""

    def __init__(self, program: str, environment: dict[str, str], folders: list[Path], *, seed: int) -> None:
        super().__init__(daemon=True)
        self.program, self.environment, self.folders = program, environment, folders
        self.chance = random.Random(seed)
        self.ending = threading.Event()
        self.done: list[Done] = []
        self.pid: int | None = None

    def run(self) -> None:
        """Run commands until the end."""
        while not self.ending.wait(PAUSE):
            self.command(*self._next())

    def end(self) -> None:
        """Start no more; the one in flight is interrupted as a person would, by Ctrl-C."""
        self.ending.set()
        for number in (signal.SIGCONT, signal.SIGINT, signal.SIGKILL):
            self._signal(number)
            if self.ident is not None and number != signal.SIGCONT:
                self.join(30)

    def command(self, *words: str) -> Done:
        """Run one to its end."""
        began = time.monotonic()
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [self.program, *words], env=self.environment, stdout=subprocess.DEVNULL, stderr=said
            )
            self.pid = process.pid
            try:
                code = process.wait(LONGEST_COMMAND)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            finally:
                self.pid = None
            said.seek(0)
            text = said.read().decode(errors="replace")[-SAID:]
        self.done.append(Done(words, code, time.monotonic() - began, text))
        if code != 0:
            print(
                f"     {time.strftime('%H:%M:%S')} {' '.join(words)}: code {code}: {' '.join(text.split())}", flush=True
            )
        return self.done[-1]

    def _next(self) -> tuple[str, ...]:
        return self.chance.choice(
            [
                ("ingest", str(self.chance.choice(self.folders))),
                ("run", "build", "--force"),
                ("run", "drift"),
                ("promote", "fallback", "--reason", "storm"),
                ("promote", "champion", "--reason", "storm"),
            ]
        )

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
