"""A hundred promotions of three replicas under load, with servers and agents killed; replicas that are cut off, and back."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from genre_assets.serving.agent.fleet import MARGIN_SECONDS
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.policy import Route
from genre_assets_tests.serving.agent.clients import Observed, load
from genre_assets_tests.serving.agent.replicas import LOST_SECONDS, Fleet, Replica, wait_until_ready
from genre_assets_tests.serving.agent.test_agents import fleet
from genre_assets_tests.serving.servers import server_of
from genre_assets_tests.waiting import until

__all__ = ["fleet"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
PROMOTIONS = 100
APART_SECONDS = 2.0


def other(route: str | None) -> Route:
    return "champion" if route == "fallback" else "fallback"


def promoted(fleet: Fleet, left_out: tuple[str, ...] = ()) -> Route:
    """Move all to the other route; the promotion must say who was left out."""
    serving = route_state.standing(fleet.database).serving
    route = other(serving.route if serving else None)
    done = fleet.promote(route)
    assert done.success
    (made,) = done.asset_materializations_for_node("live_ensemble")
    said = made.metadata.get("replicas left out")
    assert [name for name in left_out if name not in str(said)] == []
    assert bool(said) is bool(left_out), said
    return route


def holds(seen: Observed) -> None:
    print(f"{seen.answered} answered, {len(seen.failures)} failed; apart {len(seen.apart)} times, at most "
          f"{max(seen.apart, default=0.0):.2f} s")  # fmt: skip
    assert seen.failures == []
    assert max(seen.apart, default=0.0) <= APART_SECONDS


def test_a_hundred_promotions_with_a_server_and_an_agent_killed(fleet: Fleet) -> None:
    server, anew = fleet.replicas[1], fleet.replicas[2]
    events: dict[int, Callable[[], None]] = {
        30: lambda: os.kill(server_of(server.settings), signal.SIGKILL),
        60: lambda: anew.signal(signal.SIGKILL),
        65: lambda: _start_anew(anew),
    }
    began = time.monotonic()
    with load(fleet) as seen:
        for number in range(PROMOTIONS):
            events.get(number, lambda: None)()
            if number == 65:
                wait_until_ready(fleet)  # until then a promotion rightly leaves it out
            missing = 60 <= number < 65
            route = promoted(fleet, (anew.name,) if missing else ())
            assert set(fleet.routes().values()) == {route}
    print(f"{PROMOTIONS} promotions in {time.monotonic() - began:.0f} s")
    holds(seen)
    assert seen.versions == {3, 4}
    assert fleet.all_serve(route)


def _start_anew(one: Replica) -> None:
    """As a pod that comes back with an empty disk: the server serves what it has, and the agent has nothing."""
    assert one.agent is not None
    one.agent.wait(10)
    shutil.rmtree(one.settings.repository.parent / "releases")
    one.start()


@contextmanager
def stopped(one: Replica) -> Iterator[None]:
    one.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        one.signal(signal.SIGCONT)


@contextmanager
def without_database(one: Replica) -> Iterator[None]:
    with one.database.behaving("refuse"):
        yield


@contextmanager
def without_anything(one: Replica) -> Iterator[None]:
    with one.database.behaving("refuse"), one.s3.behaving("refuse"):
        yield


@pytest.mark.parametrize(
    "fault", [stopped, without_anything], ids=["the agent stands still", "database and S3 are cut off"]
)
def test_a_replica_that_is_cut_off_is_left_out_answers_no_more_and_catches_up(fleet: Fleet, fault) -> None:  # type: ignore[no-untyped-def]
    wait_until_ready(fleet)
    one = fleet.replicas[0]
    before = one.control.route()
    with load(fleet) as seen:
        with fault(one):
            began = time.monotonic()
            route = promoted(fleet, (one.name,))
            assert time.monotonic() - began >= LOST_SECONDS  # the promotion waits until it has surely stopped to answer
            assert not one.asked()[0]
            assert one.control.route() == before
            promoted(fleet, (one.name,))
            route = promoted(fleet, (one.name,))
            assert fleet.routes() == {"replica-1": route, "replica-2": route}
        until(lambda: fleet.all_serve(route), lambda: f"{fleet.routes()} {one.asked()}", 60)
    holds(seen)


def test_a_replica_that_the_database_does_not_reach_follows_what_is_in_the_store(fleet: Fleet) -> None:
    wait_until_ready(fleet)
    one = fleet.replicas[2]
    with load(fleet) as seen:
        with without_database(one):
            route = promoted(fleet, (one.name,))
            until(partial(fleet.all_serve, route), lambda: f"{fleet.routes()} {one.asked()}", 5)
            time.sleep(LOST_SECONDS + MARGIN_SECONDS)
            assert one.asked()[0], "it knows what is wanted, and serves it"
            assert one.database.met > 0
        route = promoted(fleet)
        assert fleet.all_serve(route)
    holds(seen)
