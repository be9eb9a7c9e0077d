"""A hundred switches of the route under eight clients, every fifth to a broken version: failures, and p99 against none."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import servingstack as bench_of
from benchmarks.run import Result
from genre_assets.errors import GenreError, PermanentFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.client import GenreClient
from genre_assets.serving.control import TritonControl
from genre_assets.serving.protocol import PREDICTOR
from genre_assets_tests.serving.toys import clip

COMMAND = "python -m benchmarks.run serving_switches"
CLIENTS, SWITCHES, EVERY = 8, 100, 1.0


class Clients:
    """Clients that ask one short clip after another; every wait and failure is kept."""

    def __init__(self, address: str, *, log: bool = False) -> None:
        self.address = address
        self.log = log
        self.answered = 0
        self._counting = threading.Lock()
        self.waits: list[float] = []
        self.failures: list[str] = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._one, args=(n,)) for n in range(CLIENTS)]

    def during(self, work: Callable[[], None]) -> None:
        """Ask until the work is done."""
        for thread in self.threads:
            thread.start()
        try:
            work()
        finally:
            self.ending.set()
            for thread in self.threads:
                thread.join()

    def _one(self, number: int) -> None:
        item = clip(number, seconds=1.0, rate=8_000)
        with GenreClient(self.address, deadline_s=30) as client:
            while not self.ending.is_set():
                started = time.perf_counter()
                try:
                    answer = client.predict([item], log=self.log)[0]
                    with self._counting:
                        self.answered += 1
                    if answer.error:
                        self.failures.append(answer.error)
                except GenreError as error:
                    self.failures.append(str(error))
                self.waits.append(time.perf_counter() - started)


def run() -> list[Result]:
    """Without switches, with them, on one server."""
    with bench_of.bench() as live:
        still = Clients(live.server.grpc)
        still.during(lambda: time.sleep(SWITCHES * EVERY / 3))
        model = live.repository / "predictor" / "2" / "model.onnx"
        sound = model.read_bytes()
        refused: list[int] = []

        def switches() -> None:
            for number in range(SWITCHES):
                started = time.monotonic()
                broken = number % 5 == 1  # odd numbers go to the fallback
                model.write_bytes(sound[:1000] if broken else sound)
                try:
                    switch(live.server.control, live.repository, "fallback" if number % 2 else "champion")
                except PermanentFailure:
                    refused.append(number)
                time.sleep(max(0.0, EVERY - (time.monotonic() - started)))

        moving = Clients(live.server.grpc)
        moving.during(switches)
    ratio = bench_of.percentile(moving.waits, 0.99) / bench_of.percentile(still.waits, 0.99)
    failed = len(still.failures) + len(moving.failures)
    return [
        figure("requests failed in 100 switches under 8 clients", failed, "", "0", failed == 0),
        figure("requests answered meanwhile", len(moving.waits), ""),
        figure("switches to a broken version, refused", len(refused), "", ">= 5", len(refused) >= 5),
        figure("p99 with a switch a second / without", ratio, "x", "<= 3", ratio <= 3),
    ]


def switch(control: TritonControl, folder: Path, route: str) -> None:
    """What a promotion does to files and server. A version that does not load leaves the other in its place."""
    repository = ModelRepository(folder)
    before = repository.route
    repository.write_route(route)
    try:
        control.load(PREDICTOR)
    except PermanentFailure:
        repository.write_route(str(before))
        raise


def figure(name: str, value: float, unit: str, bar: str = "", holds: bool = True) -> Result:
    """One line of the results."""
    return Result(name=f"serving: {name}", value=value, unit=unit, bar=bar, holds=holds, command=COMMAND)
