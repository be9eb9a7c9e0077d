"""A hundred promotions under eight clients, every fifth to a broken version: failures, and p99 against none."""

import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from genre_assets import keys
from genre_assets.errors import GenreError
from genre_assets.serving.promotion import route_state
from genre_assets.settings import load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.serving.live_stack import LiveStack, live_stack
from genre_assets_tests.serving.rollout.test_live import sabotage
from genre_assets_tests.serving.toys import clip

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
    """Without promotions, with them, on one server with its door, database and object store."""
    environment = bench_of.execution_environment(Path(".genre-bench"))
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as services:
        folder = Path(temporary)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        s3 = load_settings(folder / "s3", s3_port=port, s3_endpoint_url=address, s3_secret_key=uuid.uuid4().hex)
        services.enter_context(running(S3(s3)))
        postgres = Postgres(load_settings(folder / "postgres", postgres_port=free_port()), password=uuid.uuid4().hex)
        services.enter_context(running(postgres))
        models = {version: bench_of.forest(folder / f"m{version}", version) for version in (3, 4)}
        (folder / "live").mkdir()
        live = services.enter_context(live_stack(folder / "live", environment, s3, postgres, models))
        route_state.confirm(live.database, "champion", actor="build", reason="first release")
        still = Clients(live.settings.triton_grpc)
        still.during(lambda: time.sleep(SWITCHES * EVERY / 3))
        refused: list[int] = []
        moving = Clients(live.settings.triton_grpc)
        moving.during(lambda: refused.extend(promotions(live)))
    ratio = bench_of.percentile(moving.waits, 0.99) / bench_of.percentile(still.waits, 0.99)
    failed = len(still.failures) + len(moving.failures)
    return [
        bench_of.figure("requests failed in 100 promotions under 8 clients", failed, "", "0", failed == 0),
        bench_of.figure("requests answered meanwhile", len(moving.waits), ""),
        bench_of.figure("promotions to a broken version, refused", len(refused), "", "20", len(refused) == 20),
        bench_of.figure("p99 with a promotion a second / without", ratio, "x", "<= 3", ratio <= 3),
    ]


def promotions(live: LiveStack) -> Iterator[int]:
    """A hundred runs of the job `promote`, every fifth to a version that does not load; the numbers of those refused."""
    model = bench_of.forest(live.folder / "m8", 8)
    broken = live.build({**live.models, 8: model}, {"champion": 3, "fallback": 8}, "broken")
    sabotage(live, broken, "8/model.py", b"raise RuntimeError('deliberately broken')\n")
    for number in range(SWITCHES):
        started = time.monotonic()
        newest = broken if number % 10 in {1, 5} else live.releases[0]
        live.store.write_json(live.settings.serving_bucket, keys.CURRENT_RELEASE, {"id": newest.id})
        if not live.promote("fallback" if number % 2 else "champion"):
            yield number
        time.sleep(max(0.0, EVERY - (time.monotonic() - started)))
