import threading
from datetime import UTC, datetime, timedelta

import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import Wish
from genre_assets.serving.promotion.policy import Route, Rules

RULES = Rules(bad=2, of=3, clean=3, dwell=timedelta())


def evaluate(database: Database, level: str, number: int, *, route: str = "champion", version: int = 1) -> None:
    """A judged window that closes `number` seconds from now, as if just served."""
    at = datetime.now(UTC) + timedelta(seconds=number)
    database.execute(
        """INSERT INTO drift_windows (id, route, version, feature_set_version, opened_at, first_id, closed_at, last_id,
        closed_by, rows, items, judged_at, level)
        VALUES (%s, %s, %s, '1', %s, gen_random_uuid(), %s, gen_random_uuid(), 'full', 32, 32, now(), %s)""",
        (f"{route}-{version}-{number}", route, version, at, at, level),
    )


@pytest.fixture
def released(database: Database) -> Database:
    assert not route_state.confirm(database, "champion", actor="build", reason="first release")
    return database


def drifted(database: Database) -> None:
    evaluate(database, "detected", 1)
    evaluate(database, "detected", 2)


def test_before_the_first_release_nothing_is_decided(database: Database) -> None:
    drifted(database)
    standing, decision = route_state.advance(database, RULES)
    assert (standing.serving, standing.due, decision) == (None, None, None)


def test_the_first_release_is_no_move(released: Database) -> None:
    assert route_state.current_route(released) == "champion"
    assert audit.history(released) == []


def test_drift_and_recovery_are_exactly_two_moves_with_their_evidence(released: Database) -> None:
    drifted(released)
    due = route_state.advance(released, RULES)[0].due
    assert due is not None
    assert due.route == "fallback"
    assert route_state.confirm(released, "fallback", actor="whoever", reason="whatever")
    for number in (3, 4, 5):
        evaluate(released, "ok", number, route="fallback")
    assert route_state.advance(released, RULES)[0].wanted == "champion"
    assert route_state.confirm(released, "champion", actor="whoever", reason="whatever")
    back, there = audit.history(released)
    assert (there.moved_from, there.moved_to, there.actor) == ("champion", "fallback", "drift")
    assert there.evidence["windows"] == ["champion-1-1", "champion-1-2"]
    assert (back.moved_from, back.moved_to) == ("fallback", "champion")
    assert "3 clean windows" in back.reason


def test_deciding_again_before_the_switch_decides_nothing_new(released: Database) -> None:
    drifted(released)
    first = route_state.advance(released, RULES)[0].due
    evaluate(released, "detected", 3)
    again = route_state.advance(released, RULES)[0].due
    assert first is not None
    assert first == again


def test_a_move_that_was_booked_is_not_booked_again(released: Database) -> None:
    drifted(released)
    route_state.advance(released, RULES)
    booked = [route_state.confirm(released, "fallback", actor="drift", reason="again") for _ in range(3)]
    assert booked == [True, False, False]
    assert len(audit.history(released)) == 1


def test_old_verdicts_do_not_count_after_a_move(released: Database) -> None:
    drifted(released)
    route_state.advance(released, RULES)
    route_state.confirm(released, "fallback", actor="drift", reason="")
    route_state.confirm(released, "champion", actor="person", reason="I know better")
    released.execute("UPDATE drift_windows SET closed_at = closed_at - interval '1 minute'")
    standing, decision = route_state.advance(released, RULES)
    assert standing.due is None
    assert decision is not None
    assert "0 of the last 0" in decision.reason


def test_windows_of_a_replaced_version_do_not_count(released: Database) -> None:
    evaluate(released, "detected", 1, version=1)
    evaluate(released, "detected", 2, version=2)
    assert route_state.advance(released, RULES)[0].due is None


def test_a_window_that_opened_just_before_the_switch_was_booked_counts(released: Database) -> None:
    drifted(released)
    route_state.advance(released, RULES)
    evaluate(released, "ok", 3, route="fallback")  # answered by the fallback while its move was still open
    route_state.confirm(released, "fallback", actor="drift", reason="")
    evaluate(released, "ok", 4, route="fallback")
    evaluate(released, "ok", 5, route="fallback")
    assert route_state.advance(released, RULES)[0].wanted == "champion"


def test_a_move_by_hand_overtakes_an_open_one_and_can_pin(released: Database) -> None:
    drifted(released)
    route_state.advance(released, RULES)
    assert not route_state.confirm(released, "champion", actor="ada", reason="it is a test", pinned=True)
    standing = route_state.standing(released)
    assert standing.serving is not None
    assert standing.serving.pinned
    assert standing.due is None, "a pin drops the open move"
    assert route_state.advance(released, RULES)[0].due is None
    route_state.pin(released, False)
    assert route_state.advance(released, RULES)[0].wanted == "fallback"


ROUTES: tuple[Route, ...] = ("champion", "fallback")


@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("wished", ROUTES)
@pytest.mark.parametrize("open_by", ["", "drift", "anna"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("serving", ROUTES)
def test_a_persons_word_holds_whatever_was_open_or_pinned(
    database: Database, serving: Route, pinned: bool, open_by: str, wished: Route, pin: bool
) -> None:
    """Requested and booked as the asset does; the drift decides in between and afterwards."""
    other: Route = "fallback" if serving == "champion" else "champion"
    route_state.confirm(database, serving, actor="build", reason="first release")
    for number in range(4):
        evaluate(database, "detected" if serving == "champion" else "ok", number - 10, route=serving)
    database.execute("UPDATE route_state SET decided_at = decided_at - interval '1 minute'")
    if open_by == "drift":
        assert route_state.advance(database, RULES)[0].wanted == other
    route_state.pin(database, False)
    if pinned:
        database.execute("UPDATE route_state SET pinned = true WHERE switched_at IS NOT NULL")
    if open_by == "anna":
        route_state.request(database, Wish(other, "anna", "hers", pinned=True))
    wish = Wish(wished, "person", "mine", pinned=pin)
    requested = route_state.request(database, wish)
    assert (requested is None) == (wished == serving)
    route_state.advance(database, RULES)  # a daemon, while Triton is switched
    assert route_state.standing(database).wanted == wished or wished == serving
    route_state.book(database, wish, wished, {})
    now = route_state.standing(database)
    assert now.serving is not None
    assert (now.serving.route, now.serving.pinned, now.due) == (wished, pin, None)
    moves = audit.history(database, subject="route")
    assert [(m.moved_to, m.actor, m.reason) for m in moves] == (
        [] if wished == serving else [(wished, "person", "mine")]
    )
    after, _ = route_state.advance(database, RULES)
    if pin or open_by or wished != serving:  # pinned, forbidden, or counted anew
        assert after.due is None


def test_a_pinned_wish_whose_run_the_drifts_own_overtakes_stays_pinned(released: Database) -> None:
    drifted(released)
    route_state.advance(released, RULES)
    route_state.request(released, Wish("fallback", "person", "mine", pinned=True))
    route_state.book(released, Wish("fallback", "drift", "its"), "fallback", {})
    serving = route_state.standing(released).serving
    assert serving is not None
    assert (serving.route, serving.pinned) == ("fallback", True)
    assert [move.actor for move in audit.history(released, subject="route")] == ["person"]


def test_the_platform_itself_lifts_no_pin_and_forbids_no_move(released: Database) -> None:
    drifted(released)
    assert route_state.advance(released, RULES)[0].due is not None
    for wish in (Wish("champion", "reconciliation", "apart"), Wish("keep", "build", "a new release")):
        route_state.request(released, wish)
        route_state.book(released, wish, "champion", {})
        assert route_state.standing(released).due is not None
    route_state.pin(released, True)
    route_state.book(released, Wish("champion", "reconciliation", "apart"), "champion", {})
    serving = route_state.standing(released).serving
    assert serving is not None
    assert serving.pinned


def test_many_daemons_at_once_decide_and_book_one_move(released: Database) -> None:
    drifted(released)
    booked: list[bool] = []

    def daemon() -> None:
        mine = Database(released.url)
        route_state.advance(mine, RULES)
        booked.append(route_state.confirm(mine, "fallback", actor="drift", reason=""))

    threads = [threading.Thread(target=daemon) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(booked) == 1
    assert len(booked) == 8
    assert len(audit.history(released)) == 1
    assert released.rows("SELECT count(*) AS n FROM route_state")[0]["n"] == 2
