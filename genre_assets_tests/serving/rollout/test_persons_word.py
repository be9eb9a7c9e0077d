"""A person's word by the job `promote`, on a real Triton: a veto of what drift has opened, a pin, and the end of the pin."""

from collections.abc import Iterator

import pytest

from genre_assets import audit
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import Standing
from genre_assets.serving.promotion.policy import Route
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.promotion.test_route_state import RULES, evaluate

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def champion_serves(live: LiveStack) -> Iterator[None]:
    """By a first release without windows."""
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.database.execute("TRUNCATE drift_windows, route_state CASCADE")
    live.serve("champion")
    route_state.confirm(live.database, "champion", actor="build", reason="first release")
    yield
    live.database.execute("TRUNCATE drift_windows, route_state CASCADE")
    live.serve("champion")


def drifted(live: LiveStack, seconds_ago: int) -> Standing:
    """What is decided after two bad windows more, which closed since the last word on the route."""
    live.database.execute("UPDATE route_state SET decided_at = decided_at - interval '1 minute'")
    for one in (seconds_ago, seconds_ago - 1):
        evaluate(live.database, "detected", -one)
    return route_state.advance(live.database, RULES)[0]


def serving(live: LiveStack) -> tuple[str, bool, bool]:
    """Route, whether it is pinned, and whether a move is open, by the books, which Triton and the files agree with."""
    standing = route_state.standing(live.database)
    assert standing.serving is not None
    assert standing.serving.route == live.control.route() == live.repository.route
    return standing.serving.route, standing.serving.pinned, standing.due is not None


def moves(live: LiveStack, known: int) -> list[tuple[str, str]]:
    """(to, by whom) of the moves of the route since there were so many."""
    found = audit.history(live.database, subject="route", limit=1000)
    return [(move.moved_to, move.actor) for move in reversed(found)][known:]


def test_a_veto_holds_a_pin_holds_longer_and_the_next_promotion_ends_it(live: LiveStack) -> None:
    known = len(moves(live, 0))
    assert drifted(live, 9).wanted == "fallback"
    assert live.promote("champion", "it is a test signal")
    assert serving(live) == ("champion", False, False)
    assert route_state.advance(live.database, RULES)[0].due is None, "the windows of before are answered"

    assert live.promote("champion", "until noon", pin=True)
    assert serving(live) == ("champion", True, False)
    assert drifted(live, 7).due is None

    assert live.promote("champion", "it is noon")
    assert serving(live) == ("champion", False, False)
    assert drifted(live, 5).wanted == "fallback"
    wished: Route = "fallback"
    assert live.promote(wished, "let it be", pin=True)
    assert serving(live) == ("fallback", True, False)
    assert moves(live, known) == [("fallback", "person")]
