"""A promotion killed at any moment: books, files and Triton are equal again within a minute, with one audit row."""

import re
import time
from collections.abc import Callable

import psutil
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.promotion import route_state
from genre_assets.stack.services import graphql
from genre_assets.triton.control import TritonControl
from genre_assets.triton.protocol import PREDICTOR
from genre_assets_tests.faults.test_killed_services import all_healthy
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1200)]
HEALED_SECONDS = 60.0


class Serving:
    """The three that must agree."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.database = Database(stack.settings.database_url.get_secret_value())
        self.control = TritonControl.from_settings(stack.settings)

    def all_say(self, route: str) -> bool:
        standing = route_state.standing(self.database)
        books = standing.serving.route if standing.serving and standing.due is None else None
        return books == ModelRepository(self.stack.settings.repository).route == self.control.route() == route

    def moves(self) -> int:
        return len(audit.history(self.database, subject="route", limit=1000))

    def healed(self, route: str) -> None:
        began = time.monotonic()
        until(lambda: self.all_say(route), f"books, files and Triton say {route}", HEALED_SECONDS)
        print(f"{route} after {time.monotonic() - began:.0f} s")


@pytest.fixture
def serving(stack: Stack) -> Serving:
    until(lambda: all_healthy(stack), "every light is healthy", 120)
    found = Serving(stack)
    if not found.all_say("champion"):
        stack.command("promote", "champion", "--reason", "the test begins so")
    return found


def promote(stack: Stack, route: str) -> str:
    wish = {"route": route, "reason": "a test", "actor": "person", "pinned": False}
    config = {"ops": {"live_ensemble": {"config": wish}}}
    return graphql.launch(stack.settings.dagster_url, "promote", run_config=config)


def kill_worker(stack: Stack, run: str) -> None:
    """SIGKILL to the process of a run, found as the platform finds it."""
    text = (
        """query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {... on MessageEvent {message}}}}}"""
    )
    url = stack.settings.dagster_url
    found: list[int] = []

    def named() -> bool:
        events = (graphql.query(url, text, {"id": run})["logsForRun"] or {}).get("events", [])
        said = " ".join(event.get("message", "") for event in events)
        found.extend(map(int, re.findall(r"Started process for run \(pid: (\d+)\)", said)))
        return bool(found)

    until(named, "the run has a process", 60)
    psutil.Process(found[0]).kill()


@pytest.mark.parametrize("when", ["it has begun", "Triton has switched"])
def test_a_killed_promotion_is_made_in_the_end(stack: Stack, serving: Serving, when: str) -> None:
    before = serving.moves()
    run = promote(stack, "fallback")
    moments: dict[str, Callable[[], bool]] = {
        "it has begun": lambda: route_state.standing(serving.database).due is not None,
        "Triton has switched": lambda: serving.control.route() == "fallback",
    }
    until(
        lambda: moments[when]() or graphql.progress(stack.settings.dagster_url, run).status in graphql.FINISHED,
        when,
        60,
    )
    try:
        kill_worker(stack, run)
    except psutil.NoSuchProcess:
        print("it was quicker than the kill")
    serving.healed("fallback")
    assert serving.moves() == before + 1
    assert audit.history(serving.database, subject="route", limit=1)[0].actor == "person"
    stack.command("promote", "champion", "--reason", "the test is over")
    assert serving.moves() == before + 2


def test_a_server_on_another_route_than_the_books_is_brought_back(stack: Stack, serving: Serving) -> None:
    """As a promotion of the first version left it whose run was killed before it was booked."""
    before = serving.moves()
    repository = ModelRepository(stack.settings.repository)
    repository.write_route("fallback")
    serving.control.load(repository.model(PREDICTOR).name)
    assert serving.control.route() == "fallback"
    serving.healed("champion")
    assert serving.moves() == before
