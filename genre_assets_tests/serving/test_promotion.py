import threading
from datetime import UTC, datetime, timedelta

import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.serving import promotion, window_store
from genre_assets.serving.state import Rules

RULES = Rules(bad=2, of=3, clean=3, dwell=timedelta())


def judge(database: Database, level: str, number: int, *, route: str = "champion", version: int = 1) -> None:
    """A judged window that closes `number` seconds from now, as if just served."""
    database.ensure(window_store.DDL)
    at = datetime.now(UTC) + timedelta(seconds=number)
    database.execute(
        """INSERT INTO drift_windows (id, route, version, feature_set_version, opened_at, first_id, closed_at, last_id,
        closed_by, rows, items, judged_at, level)
        VALUES (%s, %s, %s, '1', %s, gen_random_uuid(), %s, gen_random_uuid(), 'full', 32, 32, now(), %s)""",
        (f"{route}-{version}-{number}", route, version, at, at, level),
    )


@pytest.fixture
def released(database: Database) -> Database:
    assert not promotion.confirm(database, "champion", actor="build", reason="first release")
    return database


def drifted(database: Database) -> None:
    judge(database, "detected", 1)
    judge(database, "detected", 2)


def test_before_the_first_release_nothing_is_decided(database: Database) -> None:
    drifted(database)
    standing, decision = promotion.advance(database, RULES)
    assert (standing.serving, standing.due, decision) == (None, None, None)


def test_the_first_release_is_no_move(released: Database) -> None:
    assert promotion.current_route(released) == "champion"
    assert audit.history(released) == []


def test_drift_and_recovery_are_exactly_two_moves_with_their_evidence(released: Database) -> None:
    drifted(released)
    due = promotion.advance(released, RULES)[0].due
    assert due is not None
    assert due.route == "fallback"
    assert promotion.confirm(released, "fallback", actor="whoever", reason="whatever")
    for number in (3, 4, 5):
        judge(released, "ok", number, route="fallback")
    assert promotion.advance(released, RULES)[0].wanted == "champion"
    assert promotion.confirm(released, "champion", actor="whoever", reason="whatever")
    back, there = audit.history(released)
    assert (there.moved_from, there.moved_to, there.actor) == ("champion", "fallback", "drift")
    assert there.evidence["windows"] == ["champion-1-1", "champion-1-2"]
    assert (back.moved_from, back.moved_to) == ("fallback", "champion")
    assert "3 clean windows" in back.reason


def test_deciding_again_before_the_switch_decides_nothing_new(released: Database) -> None:
    drifted(released)
    first = promotion.advance(released, RULES)[0].due
    judge(released, "detected", 3)
    again = promotion.advance(released, RULES)[0].due
    assert first is not None
    assert first == again


def test_a_move_that_was_booked_is_not_booked_again(released: Database) -> None:
    drifted(released)
    promotion.advance(released, RULES)
    booked = [promotion.confirm(released, "fallback", actor="drift", reason="again") for _ in range(3)]
    assert booked == [True, False, False]
    assert len(audit.history(released)) == 1


def test_old_verdicts_do_not_count_after_a_move(released: Database) -> None:
    drifted(released)
    promotion.advance(released, RULES)
    promotion.confirm(released, "fallback", actor="drift", reason="")
    promotion.confirm(released, "champion", actor="person", reason="I know better")
    released.execute("UPDATE drift_windows SET closed_at = closed_at - interval '1 minute'")
    standing, decision = promotion.advance(released, RULES)
    assert standing.due is None
    assert decision is not None
    assert "0 of the last 0" in decision.reason


def test_windows_of_a_replaced_version_do_not_count(released: Database) -> None:
    judge(released, "detected", 1, version=1)
    judge(released, "detected", 2, version=2)
    assert promotion.advance(released, RULES)[0].due is None


def test_a_window_that_opened_just_before_the_switch_was_booked_counts(released: Database) -> None:
    drifted(released)
    promotion.advance(released, RULES)
    judge(released, "ok", 3, route="fallback")  # answered by the fallback while its move was still open
    promotion.confirm(released, "fallback", actor="drift", reason="")
    judge(released, "ok", 4, route="fallback")
    judge(released, "ok", 5, route="fallback")
    assert promotion.advance(released, RULES)[0].wanted == "champion"


def test_a_move_by_hand_overtakes_an_open_one_and_can_pin(released: Database) -> None:
    drifted(released)
    promotion.advance(released, RULES)
    assert not promotion.confirm(released, "champion", actor="ada", reason="it is a test", pinned=True)
    standing = promotion.standing(released)
    assert standing.serving is not None
    assert standing.serving.pinned
    assert standing.due is None, "a pin drops the open move"
    assert promotion.advance(released, RULES)[0].due is None
    promotion.pin(released, False)
    assert promotion.advance(released, RULES)[0].wanted == "fallback"


def test_many_daemons_at_once_decide_and_book_one_move(released: Database) -> None:
    drifted(released)
    booked: list[bool] = []

    def daemon() -> None:
        mine = Database(released.url)
        promotion.advance(mine, RULES)
        booked.append(promotion.confirm(mine, "fallback", actor="drift", reason=""))

    threads = [threading.Thread(target=daemon) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(booked) == 1
    assert len(booked) == 8
    assert len(audit.history(released)) == 1
    assert released.rows("SELECT count(*) AS n FROM route_state")[0]["n"] == 2
