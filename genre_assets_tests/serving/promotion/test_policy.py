import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.serving.drift.detection import Level
from genre_assets.serving.promotion.policy import Rules, Serving, WindowLevel, decide

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RULES = Rules(bad=2, of=3, clean=3, dwell=timedelta(seconds=60))
LETTERS = {"o": Level.OK, "s": Level.SUSPECTED, "D": Level.DETECTED, "?": Level.INCONCLUSIVE}


def judged(levels: str) -> list[WindowLevel]:
    return [WindowLevel(f"w{i}", LETTERS[letter]) for i, letter in enumerate(levels)]


def move(route: str, levels: str, *, since: timedelta = timedelta(hours=1), pinned: bool = False) -> str | None:
    serving = Serving("champion" if route == "champion" else "fallback", NOW - since, pinned)
    return decide(serving, judged(levels), RULES, NOW).move_to


@pytest.mark.parametrize("levels", ["DD", "oDD", "DoD", "ooooDsD", "D?D", "D??o?D"])
def test_two_drifted_of_the_last_three_conclusive_windows_bring_the_fallback(levels: str) -> None:
    assert move("champion", levels) == "fallback"


@pytest.mark.parametrize("levels", ["", "D", "Doo", "DooD", "sss", "Dss", "???", "ooo"])
def test_one_drifted_window_or_mere_suspicion_keeps_the_champion(levels: str) -> None:
    assert move("champion", levels) is None


@pytest.mark.parametrize("levels", ["ooo", "Dooo", "oos?o", "DDoooo"])
def test_three_clean_windows_in_a_row_bring_the_champion_back(levels: str) -> None:
    assert move("fallback", levels) == "champion"


@pytest.mark.parametrize("levels", ["", "oo", "oDoo", "ooDo", "o?s?o", "ooD"])
def test_a_drifted_window_breaks_the_row_and_suspicion_does_not_lengthen_it(levels: str) -> None:
    assert move("fallback", levels) is None


def test_clean_windows_wait_for_the_minimum_dwell() -> None:
    assert move("fallback", "ooo", since=timedelta(seconds=59)) is None
    assert move("fallback", "ooo", since=timedelta(seconds=60)) == "champion"


@pytest.mark.parametrize(("route", "levels"), [("champion", "DDD"), ("fallback", "ooo")])
def test_a_pinned_route_stays_and_the_decision_says_why(route: str, levels: str) -> None:
    serving = Serving("champion" if route == "champion" else "fallback", NOW - timedelta(hours=1), pinned=True)
    decision = decide(serving, judged(levels), RULES, NOW)
    assert decision.move_to is None
    assert "pinned" in decision.reason


def test_drift_under_the_fallback_too_holds_it_and_asks_for_retraining() -> None:
    decision = decide(Serving("fallback", NOW - timedelta(hours=1)), judged("oDD"), RULES, NOW)
    assert decision.move_to is None
    assert decision.retrain
    assert decision.windows == ("w1", "w2")


def test_a_decision_names_the_windows_it_rests_on() -> None:
    assert decide(Serving("champion", NOW), judged("oDsD"), RULES, NOW).windows == ("w1", "w3")


@given(st.lists(st.sampled_from(list(Level)), max_size=60), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5))
def test_over_any_sequence_each_move_is_earned_and_none_flaps(
    levels: list[Level], bad: int, more: int, clean: int
) -> None:
    """Replay: a move needs its own fresh evidence, so two moves are at least min(bad, clean) windows apart."""
    rules = Rules(bad=bad, of=bad + more, clean=clean, dwell=timedelta())
    route, since_move, moves = "champion", [], []
    for number, level in enumerate(levels):
        since_move.append(WindowLevel(f"w{number}", level))
        serving = Serving("champion" if route == "champion" else "fallback", NOW)
        decision = decide(serving, since_move, rules, NOW)
        if decision.move_to is not None:
            wanted = Level.DETECTED if decision.move_to == "fallback" else Level.OK
            needed = bad if decision.move_to == "fallback" else clean
            assert decision.move_to != route
            assert len(decision.windows) >= needed
            assert {j.level for j in since_move if j.window in decision.windows} == {wanted}
            route, since_move = decision.move_to, []
            moves.append(number)
    assert all(later - earlier >= min(bad, clean) for earlier, later in itertools.pairwise(moves))


@given(st.lists(st.sampled_from([Level.OK, Level.SUSPECTED, Level.INCONCLUSIVE]), max_size=40))
def test_without_a_detected_window_the_champion_never_leaves(levels: list[Level]) -> None:
    windows = [WindowLevel(str(i), level) for i, level in enumerate(levels)]
    assert decide(Serving("champion", NOW), windows, RULES, NOW).move_to is None
