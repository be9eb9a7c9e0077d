"""Faults while clients ask: killed stubs, a database outage, switches to broken versions. Nothing may be lost."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from genre_assets.errors import GenreError
from genre_assets.inference.request_log import read
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.policy import Route
from genre_assets.stack.services.postgres import Postgres
from genre_assets.triton.client.sync import GenreClient, Prediction
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import sabotage, stub_processes
from genre_assets_tests.serving.toys import clip, toy_model

pytestmark = pytest.mark.stack


@dataclass
class Load:
    """What the clients of a `load` got."""

    answered: int = 0
    wrong: list[Prediction] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)


@contextmanager
def load(live: LiveStack, clients: int = 8) -> Iterator[Load]:
    """Clients that ask without pause until the end of the block."""
    result, ending, lock = Load(), threading.Event(), threading.Lock()
    clips = [clip(i, seconds=1.0, rate=4_000) for i in range(40)]

    def one(number: int) -> None:
        chance = random.Random(number)
        with GenreClient(live.settings.triton_grpc, deadline_s=60) as client:
            while not ending.is_set():
                items = chance.choices(clips, k=chance.randint(1, 4))
                try:
                    answers = client.predict(items)
                except GenreError as error:
                    with lock:
                        result.failures.append(str(error))
                    continue
                with lock:
                    result.answered += len(answers)
                    result.wrong += [a for a in answers if a.error]
                    result.versions |= {a.version for a in answers}

    threads = [threading.Thread(target=one, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        ending.set()
        for thread in threads:
            thread.join()


@pytest.fixture(autouse=True)
def fresh_log(live: LiveStack) -> None:
    """The champion of the first release serves, and the log is empty."""
    live.fresh_log()


def test_killing_each_stub_in_turn_costs_no_answer_and_no_row_and_doubles_none(live: LiveStack) -> None:
    with load(live) as result:
        for model in ("pre_processor", "predictor", "post_processor"):
            time.sleep(1.0)
            before = stub_processes(live)[model]
            os.kill(min(before), signal.SIGKILL)
            end = time.monotonic() + 30
            while not stub_processes(live).get(model, set()) - before:
                assert time.monotonic() < end, f"{model} was not revived"
                time.sleep(0.1)
        time.sleep(1.5)
    assert result.failures == []
    assert result.wrong == []
    live.wait_until_logged()
    assert len(read(live.database)) == result.answered


def test_a_database_outage_costs_no_answer_and_no_row(live: LiveStack, postgres: Postgres) -> None:
    with load(live, clients=4) as result:
        time.sleep(1.0)
        server = int((postgres.data / "postmaster.pid").read_text().split()[0])
        os.kill(server, signal.SIGSTOP)  # no connection is accepted any more
        time.sleep(4.0)
        with suppress(ProcessLookupError):  # its keeper may have put another in its place
            os.kill(server, signal.SIGCONT)
        time.sleep(1.0)
    assert (result.failures, result.wrong) == ([], [])
    live.wait_until_logged()
    assert len(read(live.database)) == result.answered


def test_promotions_under_load_some_to_a_broken_version_fail_no_request(live: LiveStack, tmp_path: Path) -> None:
    """By the job `promote`: booked, switched, checked; the books say what serves after each."""
    model = toy_model(tmp_path / "m8", version=8, family="random_forest", seed=8)
    does_not_load = live.build({**live.models, 8: model}, {"champion": 3, "fallback": 8}, "broken")
    sabotage(live, does_not_load, "8/model.py", b"raise RuntimeError('deliberately broken')\n")
    route_state.confirm(live.database, "champion", actor="build", reason="first release")
    refused = 0
    with load(live) as result:
        for number in range(12):
            broken = number % 4 == 1  # odd ones go to the fallback
            route: Route = "fallback" if number % 2 else "champion"
            newest = does_not_load if broken else live.releases[0]
            live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": newest.id})
            done = live.promote(route)
            assert done != broken
            refused += broken
            now = route_state.standing(live.database)
            serves = "champion" if broken else route
            assert now.serving is not None
            assert (live.control.route(), now.serving.route, now.due) == (serves, serves, None)
    assert refused == 3
    assert (result.failures, result.wrong) == ([], [])
    assert result.versions == {3, 4}
