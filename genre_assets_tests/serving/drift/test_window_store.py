import threading
from datetime import UTC, datetime, timedelta

import pytest

from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.migrations import VERSION_TABLE
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.windows import ClosedBy, Rules
from genre_assets_tests.serving.drift.data import START, log_rows

RULES = Rules(size=16, minimum=8, longest=timedelta(hours=1))
LATER = START + timedelta(minutes=5)


def test_windows_are_cut_once_and_go_on_where_the_last_one_ended(database: Database) -> None:
    request_log.insert(database, log_rows(20))
    assert len(window_store.cut(database, RULES, LATER)) == 1
    assert window_store.cut(database, RULES, LATER) == []
    request_log.insert(database, log_rows(12, start=START + timedelta(seconds=10), seed=1))
    (second,) = window_store.cut(database, RULES, LATER)
    assert (second.items, second.opened_at) == (16, START + timedelta(seconds=1.6))


def test_every_row_of_the_log_lies_in_one_window(database: Database) -> None:
    request_log.insert(database, log_rows(64))
    windows = window_store.cut(database, RULES, LATER)
    ids = [row_id for window in windows for row_id in window_store.rows(database, window)["id"]]
    assert len(ids) == len(set(ids)) == 64


def test_two_runs_at_once_cut_each_window_once(database: Database) -> None:
    request_log.insert(database, log_rows(160))
    threads = [
        threading.Thread(target=lambda: window_store.cut(Database(database.url), RULES, LATER)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = database.rows("SELECT opened_at, closed_at FROM drift_windows ORDER BY opened_at")
    assert len(spans) == 10
    assert all(a["closed_at"] < b["opened_at"] for a, b in zip(spans, spans[1:], strict=False))  # noqa: RUF007


def test_due_names_the_same_window_until_it_is_judged(database: Database) -> None:
    assert window_store.due(database, RULES, LATER) is None
    request_log.insert(database, log_rows(15))
    assert window_store.due(database, RULES, LATER) is None
    request_log.insert(database, log_rows(5, start=START + timedelta(seconds=5), seed=1))
    name = window_store.due(database, RULES, LATER)
    (window,) = window_store.cut(database, RULES, LATER)
    assert name == window.id == window_store.due(database, RULES, LATER)
    window_store.save_result(database, window.id, level=Level.OK, reason="", reference_version=1, findings={})
    assert window_store.due(database, RULES, LATER) == name, "nobody has been told of the verdict"
    window_reports.keep_reported(database, window.id)
    assert window_store.due(database, RULES, LATER) is None


def test_a_verdict_is_kept_once_unless_asked_for_again(database: Database) -> None:
    request_log.insert(database, log_rows(16))
    (window,) = window_store.cut(database, RULES, LATER)

    def keep(level: Level, again: bool = False) -> bool:
        return window_store.save_result(
            database, window.id, level=level, reason="", reference_version=1, findings={}, again=again
        )

    assert keep(Level.OK)
    assert not keep(Level.DETECTED)
    assert window_store.newest(database)[0].level is Level.OK
    assert keep(Level.DETECTED, again=True)
    assert window_store.newest(database)[0].level is Level.DETECTED


def test_rows_from_the_future_wait_until_their_time(database: Database) -> None:
    """A host whose clock is ahead must neither stop the windows of the others nor be lost."""
    ahead = datetime.now(UTC) + timedelta(days=1)
    request_log.insert(database, log_rows(16, start=ahead))
    request_log.insert(database, log_rows(16, seed=1))
    (now,) = window_store.cut(database, RULES)
    assert now.opened_at == START
    (then,) = window_store.cut(database, RULES, ahead + timedelta(minutes=1))
    assert then.opened_at == ahead


def test_a_promotion_in_the_log_ends_the_window(database: Database) -> None:
    request_log.insert(database, log_rows(10))
    request_log.insert(database, log_rows(16, start=START + timedelta(seconds=20), seed=1, route="fallback", version=2))
    first, second = window_store.cut(database, RULES, LATER)
    assert (first.items, first.closed_by) == (10, ClosedBy.SWITCH)
    assert set(window_store.rows(database, second)["route"]) == {"fallback"}


def test_rows_with_nan_or_infinity_or_an_error_fill_no_window(database: Database) -> None:
    bad = log_rows(20)
    for number, value in enumerate([float("nan"), float("inf"), float("-inf")]):
        values = bad[number].features
        assert values
        values[3] = value
    request_log.insert(database, bad[:16])
    request_log.insert(database, log_rows(4, start=START + timedelta(seconds=30), seed=2, error_code="UNDECODABLE"))
    assert window_store.cut(database, RULES, LATER) == []
    request_log.insert(database, log_rows(3, start=START + timedelta(seconds=60), seed=3))
    (window,) = window_store.cut(database, RULES, LATER)
    assert (window.rows, window.items) == (23, 16)


def test_what_waits_is_counted_from_when_it_could_be_known(database: Database) -> None:
    """A window that is cut after quiet traffic has not waited since its last item."""
    long_ago = datetime.now(UTC) - timedelta(days=3)
    request_log.insert(database, log_rows(16, start=long_ago))
    before = datetime.now(UTC)
    (window,) = window_store.cut(database, RULES)
    found = window_reports.freshness(database)
    assert found.waiting_since is not None
    assert found.waiting_since >= before - timedelta(seconds=1)
    assert found.unevaluated_since == window.opened_at
    window_store.save_result(database, window.id, level=Level.INCONCLUSIVE, reason="", reference_version=1, findings={})
    assert window_reports.freshness(database).unevaluated_since == window.opened_at, (
        "an inconclusive window tells nothing"
    )
    window_store.save_result(
        database, window.id, level=Level.OK, reason="", reference_version=1, findings={}, again=True
    )
    found = window_reports.freshness(database)
    assert (found.waiting_since, found.unevaluated_since) == (None, None)


def test_a_window_of_more_rows_than_are_read_at_once_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file again and again, and new ones after it: the window must see past the repeats."""
    monkeypatch.setattr(window_store, "AT_ONCE", 8)
    request_log.insert(database, log_rows(50, names=["same"] * 50))
    request_log.insert(database, log_rows(16, seed=1, start=START + timedelta(seconds=20)))
    (window,) = window_store.cut(database, RULES, LATER)
    assert window.rows == 65


def test_windows_of_an_earlier_version_count_as_reported(database: Database) -> None:
    """Its table has neither column; an upgrade must not report years of windows again."""
    request_log.insert(database, log_rows(16))
    (window,) = window_store.cut(database, RULES, LATER)
    window_store.save_result(database, window.id, level=Level.OK, reason="", reference_version=1, findings={})
    database.execute("ALTER TABLE drift_windows DROP COLUMN cut_at, DROP COLUMN reported_at")
    database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    upgraded = Database(database.url)
    assert window_reports.unreported(upgraded) == []
    request_log.insert(upgraded, log_rows(16, seed=2, start=START + timedelta(minutes=1)))
    (newer,) = window_store.cut(upgraded, RULES, LATER)
    window_store.save_result(upgraded, newer.id, level=Level.OK, reason="", reference_version=1, findings={})
    assert [judged.window.id for judged in window_reports.unreported(upgraded)] == [newer.id]


def test_two_runs_at_once_report_each_window_once(database: Database) -> None:
    """Two daemons, or a person beside the sensor: the second waits until the first has reported, and finds nothing left."""
    request_log.insert(database, log_rows(48))
    for window in window_store.cut(database, RULES, LATER):
        window_store.save_result(database, window.id, level=Level.OK, reason="", reference_version=1, findings={})
    found: list[int] = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with window_reports.reporting(database) as windows:
            found.append(len(windows))

    with window_reports.reporting(database) as windows:
        assert len(windows) == 3
        other = threading.Thread(target=second)
        other.start()
        assert entered.wait(10)
        other.join(1)
        assert other.is_alive(), "it waits"
        for judged in windows:
            window_reports.keep_reported(database, judged.window.id)
    other.join(20)
    assert found == [0]
