import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.serving.drift.windows import ClosedBy, Epoch, LogRow, Rules, Window, cut

START = datetime(2026, 11, 1, tzinfo=UTC)
CHAMPION, FALLBACK = Epoch("champion", 1, "1"), Epoch("fallback", 2, "1")
RULES = Rules(size=4, minimum=2, longest=timedelta(minutes=10), oldest=timedelta(minutes=60))


def row(
    number: int, name: str | None = None, *, epoch: Epoch = CHAMPION, sound: bool = True, at: float | None = None
) -> LogRow:
    ts = START + timedelta(seconds=number if at is None else at)
    return LogRow(f"id-{number:06d}", ts, name or f"file-{number}", epoch, sound)


def windows(rows: list[LogRow], now: timedelta = timedelta(minutes=1)) -> list[Window]:
    return list(cut(rows, RULES, START + now))


def test_a_window_is_full_at_its_number_of_distinct_items() -> None:
    (only,) = windows([row(i) for i in range(7)])
    assert (only.items, only.rows, only.closed_by) == (4, 4, ClosedBy.FULL)
    assert (only.first_id, only.last_id) == ("id-000000", "id-000003")


def test_a_repeated_file_is_a_row_and_no_new_evidence() -> None:
    (only,) = windows([row(i, f"file-{i // 2}") for i in range(8)])
    assert (only.items, only.rows) == (4, 7)


def test_rows_without_sound_features_never_fill_a_window() -> None:
    assert windows([row(i, sound=False) for i in range(100)]) == []


def test_a_window_whose_time_is_up_closes_with_what_it_has() -> None:
    late = [row(0), row(1), row(2, at=601.0), row(3, at=602.0)]
    (first,) = windows(late, timedelta(seconds=700))
    assert (first.items, first.closed_by) == (2, ClosedBy.TIME)
    first, second = windows(late, timedelta(seconds=1300))
    assert (second.items, second.closed_by) == (2, ClosedBy.TIME)


def test_a_window_with_too_few_items_goes_on_until_it_can_be_judged() -> None:
    """One item each 15 minutes, where windows end after ten."""
    slow = [row(i, at=900.0 * i) for i in range(4)]
    first, second = windows(slow, timedelta(minutes=46))
    assert [(w.items, w.closed_by) for w in (first, second)] == [(2, ClosedBy.TIME)] * 2
    assert (first.last_id, second.first_id) == ("id-000001", "id-000002")


def test_a_window_that_cannot_be_judged_ends_at_the_longest_age() -> None:
    alone = [row(0), row(1, "file-0", at=3000.0)]
    assert windows(alone, timedelta(minutes=59)) == []
    (only,) = windows(alone, timedelta(minutes=61))
    assert (only.items, only.rows, only.closed_by) == (1, 2, ClosedBy.AGE)
    only, _ = windows([*alone, *(row(i, at=3601.0 + i) for i in range(2, 6))], timedelta(minutes=62))
    assert (only.items, only.rows, only.closed_by) == (1, 2, ClosedBy.AGE)


def test_five_items_an_hour_are_judged_by_the_documented_rules() -> None:
    hourly = [row(i, at=720.0 * i) for i in range(48 * 3)]
    found = list(cut(hourly, Rules(), START + timedelta(hours=29)))
    assert [(w.items, w.closed_by) for w in found] == [(48, ClosedBy.TIME)] * 3


def test_a_window_never_holds_two_models() -> None:
    rows = [
        row(0),
        row(1),
        row(2, epoch=FALLBACK),
        row(3, epoch=FALLBACK),
        row(4, epoch=FALLBACK),
        row(5, epoch=FALLBACK),
    ]
    cut_short, full = windows(rows)
    assert (cut_short.epoch, cut_short.items, cut_short.closed_by) == (CHAMPION, 2, ClosedBy.SWITCH)
    assert (full.epoch, full.items, full.closed_by) == (FALLBACK, 4, ClosedBy.FULL)


def test_late_answers_of_the_model_before_cut_nothing_and_are_no_evidence() -> None:
    rows = [
        row(0),
        row(1, epoch=FALLBACK),
        row(2),
        row(3, epoch=FALLBACK),
        row(4),
        row(5, epoch=FALLBACK),
        row(6, epoch=FALLBACK),
    ]
    cut_short, full = windows(rows)
    assert cut_short.items == 1
    assert (full.epoch, full.items, full.rows) == (FALLBACK, 4, 6)


def test_a_switch_back_after_a_while_is_a_switch() -> None:
    rows = [row(0), row(1, epoch=FALLBACK), *(row(i, at=20.0 + i) for i in range(2, 6))]
    assert [w.epoch for w in windows(rows)] == [CHAMPION, FALLBACK, CHAMPION]


def test_new_feature_code_starts_a_new_window() -> None:
    rows = [row(0), row(1), row(2, epoch=Epoch("champion", 1, "2"))]
    assert [w.closed_by for w in windows(rows)] == [ClosedBy.SWITCH]


def test_a_window_is_named_after_its_first_row() -> None:
    rows = [row(i) for i in range(8)]
    first, second = windows(rows)
    assert first.id != second.id
    assert windows(rows[4:])[0].id == second.id
    assert first.id.startswith("20261101T000000-")


@pytest.mark.parametrize("rows", [[], [row(0)]])
def test_too_few_rows_make_no_window(rows: list[LogRow]) -> None:
    assert windows(rows) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([CHAMPION, FALLBACK]), st.booleans(), st.integers(0, 300)),
        max_size=80,
    ),
    st.integers(0, 80),
)
def test_windows_do_not_depend_on_when_one_looks(drawn: list[tuple[int, Epoch, bool, int]], split: int) -> None:
    """Cutting in two goes (a crash, a restart) gives the windows of one go, apart from windows ended by time alone."""
    at, rows = 0, []
    for number, (name, epoch, sound, pause) in enumerate(drawn):
        at += pause
        rows.append(row(number, f"file-{name}", epoch=epoch, sound=sound, at=float(at)))
    end = START + timedelta(seconds=at)
    at_once = list(cut(rows, RULES, end))
    seen = rows[:split]
    early = list(cut(seen, RULES, seen[-1].ts if seen else START))
    rest = [r for r in rows if not early or (r.ts, r.id) > (early[-1].closed_at, early[-1].last_id)]
    later = list(cut(rest, RULES, end, before=early[-1].epoch if early else None))
    assert [w.id for w in early + later] == [w.id for w in at_once]
    assert early + later == at_once
    spans = [(w.opened_at, w.first_id, w.closed_at, w.last_id) for w in at_once]
    assert all(a[2:] < b[:2] for a, b in itertools.pairwise(spans))
