import threading
from datetime import UTC, datetime, timedelta

from genre_assets.database import Database
from genre_assets.serving import prediction_log, window_store
from genre_assets.serving.drift.verdict import Level
from genre_assets.serving.drift.windows import ClosedBy, Rules
from genre_assets_tests.serving.drift_data import START, log_rows

RULES = Rules(size=16, minimum=8, longest=timedelta(hours=1))
LATER = START + timedelta(minutes=5)


def test_windows_are_cut_once_and_go_on_where_the_last_one_ended(database: Database) -> None:
    prediction_log.insert(database, log_rows(20))
    assert len(window_store.cut(database, RULES, LATER)) == 1
    assert window_store.cut(database, RULES, LATER) == []
    prediction_log.insert(database, log_rows(12, start=START + timedelta(seconds=10), seed=1))
    (second,) = window_store.cut(database, RULES, LATER)
    assert (second.items, second.opened_at) == (16, START + timedelta(seconds=1.6))


def test_every_row_of_the_log_lies_in_one_window(database: Database) -> None:
    prediction_log.insert(database, log_rows(64))
    windows = window_store.cut(database, RULES, LATER)
    ids = [row_id for window in windows for row_id in window_store.rows(database, window)["id"]]
    assert len(ids) == len(set(ids)) == 64


def test_two_runs_at_once_cut_each_window_once(database: Database) -> None:
    prediction_log.insert(database, log_rows(160))
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
    prediction_log.insert(database, log_rows(15))
    assert window_store.due(database, RULES, LATER) is None
    prediction_log.insert(database, log_rows(5, start=START + timedelta(seconds=5), seed=1))
    name = window_store.due(database, RULES, LATER)
    (window,) = window_store.cut(database, RULES, LATER)
    assert name == window.id == window_store.due(database, RULES, LATER)
    window_store.keep_verdict(database, window.id, level=Level.OK, reason="", reference_version=1, findings={})
    assert window_store.due(database, RULES, LATER) is None


def test_a_verdict_is_kept_once_unless_asked_for_again(database: Database) -> None:
    prediction_log.insert(database, log_rows(16))
    (window,) = window_store.cut(database, RULES, LATER)

    def keep(level: Level, again: bool = False) -> bool:
        return window_store.keep_verdict(
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
    prediction_log.insert(database, log_rows(16, start=ahead))
    prediction_log.insert(database, log_rows(16, seed=1))
    (now,) = window_store.cut(database, RULES)
    assert now.opened_at == START
    (then,) = window_store.cut(database, RULES, ahead + timedelta(minutes=1))
    assert then.opened_at == ahead


def test_a_promotion_in_the_log_ends_the_window(database: Database) -> None:
    prediction_log.insert(database, log_rows(10))
    prediction_log.insert(
        database, log_rows(16, start=START + timedelta(seconds=20), seed=1, route="fallback", version=2)
    )
    first, second = window_store.cut(database, RULES, LATER)
    assert (first.items, first.closed_by) == (10, ClosedBy.SWITCH)
    assert set(window_store.rows(database, second)["route"]) == {"fallback"}


def test_rows_with_nan_or_infinity_or_an_error_fill_no_window(database: Database) -> None:
    bad = log_rows(20)
    for number, value in enumerate([float("nan"), float("inf"), float("-inf")]):
        values = bad[number].features
        assert values
        values[3] = value
    prediction_log.insert(database, bad[:16])
    prediction_log.insert(database, log_rows(4, start=START + timedelta(seconds=30), seed=2, error_code="UNDECODABLE"))
    assert window_store.cut(database, RULES, LATER) == []
    prediction_log.insert(database, log_rows(3, start=START + timedelta(seconds=60), seed=3))
    (window,) = window_store.cut(database, RULES, LATER)
    assert (window.rows, window.items) == (23, 16)
