"""The table of answered items: each row once, read back as it was, old days dropped whole."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from genre_assets.database import Database
from genre_assets.inference.request_log import COLUMNS, Row, insert, prune, read

pytestmark = pytest.mark.stack
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def row(**changes: object) -> Row:
    base = Row(
        id=str(uuid.uuid4()), ts=NOON.timestamp(), request_id="r", item=0, fingerprint="f" * 64, model="xgboost", version=3,
        route="champion", label="rock", confidence=0.9, probabilities=[0.1, 0.9], features=[1.0, 2.0],
        feature_set="default", feature_set_version="1", error_code=None, error=None, decode_ms=1.5, extract_ms=20.0,
        predict_ms=0.1, address="s3://genre-raw/rock/a.wav", format="WAV/PCM_16", sample_rate=44_100, channels=2,
        duration_s=30.5, label_set="0123456789ab", tag="kiosk 7",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def test_rows_come_back_as_they_went_in(database: Database) -> None:
    failed = row(
        item=1,
        label=None,
        confidence=None,
        probabilities=None,
        features=None,
        error_code="silent",
        error="no 'sound'; ü",
    )
    assert insert(database, [row(item=0), failed]) == 2
    frame = read(database, answered_only=False)
    assert tuple(frame.columns) == COLUMNS
    assert frame["item"].tolist() == [0, 1]
    assert frame["features"].iloc[0] == [1.0, 2.0]
    assert frame["error"].iloc[1] == "no 'sound'; ü"
    assert frame["ts"].iloc[0].timestamp() == NOON.timestamp()


def test_a_row_is_logged_once_however_often_and_whenever_it_is_sent(database: Database) -> None:
    first = row()
    assert insert(database, [first, first]) == 1
    assert insert(database, [replace(first, ts=first.ts + 40)]) == 0
    assert insert(database, [replace(first, ts=first.ts + 86_400)]) == 0
    assert len(read(database)) == 1


def test_two_writers_at_once_log_a_row_once(database: Database) -> None:
    rows = [row(item=i) for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda _: insert(Database(database.url), rows), range(4)))
    assert sum(added) == 200
    assert len(read(database)) == 200


def test_features_are_read_back_as_named_columns_for_drift_and_retraining(database: Database) -> None:
    other_width = row(features=[1.0, 2.0, 3.0], feature_set_version="2")
    insert(database, [row(), other_width, row(features=None, error_code="silent")])
    frame = read(database, feature_names=("a", "b"))
    assert len(frame) == 1
    assert frame[["a", "b"]].iloc[0].tolist() == [1.0, 2.0]
    assert frame["a"].dtype == np.float32


def test_reading_is_bounded_by_time_and_number(database: Database) -> None:
    insert(database, [row(ts=(NOON + timedelta(minutes=m)).timestamp(), item=m) for m in range(10)])
    part = read(database, since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=5))
    assert part["item"].tolist() == [2, 3, 4]
    assert read(database, limit=3)["item"].tolist() == [7, 8, 9]


def test_a_day_has_a_partition_and_old_days_are_dropped_whole(database: Database) -> None:
    insert(database, [row(ts=(NOON - timedelta(days=d)).timestamp()) for d in (0, 1, 89, 91, 200)])
    dropped = prune(database, days=90, now=NOON)
    assert dropped == ["served_requests_20260507", "served_requests_20260824"]
    assert len(read(database)) == 3
    assert prune(database, days=90, now=NOON) == []


def test_rows_on_both_sides_of_midnight_go_to_their_days(database: Database) -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    insert(database, [row(ts=midnight.timestamp() - 0.001), row(ts=midnight.timestamp())])
    names = database.rows("SELECT tableoid::regclass::text AS day FROM served_requests ORDER BY ts")
    assert [n["day"] for n in names] == ["served_requests_20261123", "served_requests_20261124"]


def test_an_empty_batch_needs_no_database() -> None:
    assert insert(Database("postgresql://nobody@127.0.0.1:1/none"), []) == 0


def test_the_table_is_what_the_row_says(database: Database) -> None:
    columns = database.rows(
        "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'served_requests' ORDER BY ordinal_position"
    )
    assert tuple(c["name"] for c in columns) == COLUMNS
