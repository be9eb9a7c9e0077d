"""The table `served_requests`: every item answered is one row. Partitioned by day; old days are dropped whole.

Rows arrive through the spool (`spool.py`), which the Triton post-processor feeds, by a role that may do no more than add
rows and begin a day. Drift and retraining read them with `read`. No personal data: what a row holds of the client's is the request id, the
tag and the addresses that it chose.
"""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database
from genre_assets.triton.protocol import short_id

if TYPE_CHECKING:
    import pandas as pd
    from psycopg2.extensions import cursor

TABLE = "served_requests"
LONGEST_DAYS = 36_500  # of retention: `datetime` cannot go back for ever
LOCK = 20261124  # writers take turns, so that two of them cannot log the same item twice


@dataclass(frozen=True)
class Row:
    """One row, in the table's column order. `ts` is in seconds since 1970."""

    id: str
    ts: float
    request_id: str
    item: int
    fingerprint: str | None
    model: str
    version: int
    route: str
    label: str | None
    confidence: float | None
    probabilities: list[float] | None
    features: list[float] | None
    feature_set: str
    feature_set_version: str
    error_code: str | None
    error: str | None
    decode_ms: float
    extract_ms: float
    predict_ms: float
    address: str | None = None
    format: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    duration_s: float | None = None
    label_set: str | None = None
    tag: str | None = None


COLUMNS = tuple(f.name for f in fields(Row))
REQUIRED = sum(f.default is MISSING for f in fields(Row))  # so many values at least has a line of the spool
_CASTS = {"id": "uuid", "ts": "timestamptz", "item": "int", "version": "int", "confidence": "real", "probabilities": "real[]",
          "features": "real[]", "decode_ms": "real", "extract_ms": "real", "predict_ms": "real", "sample_rate": "int",
          "channels": "int", "duration_s": "real"}  # fmt: skip


def insert(database: Database, rows: Sequence[Row]) -> int:
    """Add the rows that are not there yet; returns how many that were."""
    if not rows:
        return 0
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        for day in sorted({datetime.fromtimestamp(row.ts, UTC).date() for row in rows}):
            _ensure_day(cursor, day)
        return _insert(cursor, rows)


def read(
    database: Database,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    answered_only: bool = True,
    feature_names: Sequence[str] = (),
) -> "pd.DataFrame":
    """Rows of the log as a frame, the oldest first; with `limit`, the newest that many.

    With `feature_names` the features are columns of those names (rows of another width are left out), else one column
    of lists. `answered_only` leaves out the items that failed.
    """
    import pandas as pd

    # The columns are constants of this module; values travel as parameters.
    sql = f"""SELECT {", ".join(COLUMNS)} FROM served_requests
        WHERE (%(since)s IS NULL OR ts >= %(since)s) AND (%(until)s IS NULL OR ts < %(until)s)
        AND (NOT %(answered)s OR error_code IS NULL) ORDER BY ts DESC, request_id, item DESC LIMIT %(limit)s"""  # noqa: S608
    rows = database.rows(sql, {"since": since, "until": until, "answered": answered_only, "limit": limit})
    frame = pd.DataFrame(rows[::-1], columns=list(COLUMNS))
    if not feature_names:
        return frame
    fits = [values is not None and len(values) == len(feature_names) for values in frame["features"]]
    frame = frame[
        pd.Series(fits, index=frame.index, dtype=bool)
    ]  # an empty list would choose no column instead of no row
    wide = pd.DataFrame(frame.pop("features").tolist(), columns=list(feature_names), index=frame.index, dtype="float32")
    return pd.concat([frame, wide], axis=1).reset_index(drop=True)


def of_request(database: Database, request_id: str) -> list[dict[str, Any]]:
    """The rows of one request, in the order of its items; none if it is not logged (yet)."""
    sql = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE request_id = %s ORDER BY item"  # noqa: S608  # constants
    return database.rows(sql, (short_id(request_id),))


def counts(database: Database, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """How many rows of a stretch of the log each label has, and each kind of error; the most first."""
    sql = """SELECT route, label, error_code AS error, count(*) AS rows FROM served_requests
        WHERE ts >= %s AND ts <= %s GROUP BY route, label, error_code ORDER BY count(*) DESC, label LIMIT 100"""
    return database.rows(sql, (since, until))


def newest(database: Database, *, until: datetime, limit: int) -> list[dict[str, Any]]:
    """The newest rows up to a moment, for people: when, which request and item, what was answered, by whom."""
    sql = """SELECT ts, request_id, item, label, confidence, route, version, error_code AS error, tag FROM served_requests
        WHERE ts <= %s ORDER BY ts DESC, request_id, item DESC LIMIT %s"""
    rows = database.rows(sql, (until, limit))
    return [
        {
            "at (UTC)": f"{ts.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            **row,
            "confidence": None if sure is None else round(sure, 3),
        }
        for row in rows
        for ts, sure in [(row.pop("ts"), row["confidence"])]
    ]


def begin_days(database: Database, *, ahead: int, now: datetime | None = None) -> None:
    """See to it that today and so many days after it have their partitions (30 at most)."""
    today = (now or datetime.now(UTC)).date()
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        for more in range(ahead + 1):
            _ensure_day(cursor, today + timedelta(days=more))


def prune(database: Database, *, days: int, now: datetime | None = None) -> list[str]:
    """Drop the partitions of days that ended more than `days` days ago; returns their names."""
    oldest = (now or datetime.now(UTC)) - timedelta(days=min(days, LONGEST_DAYS))
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'served_requests'::regclass"
        )
        names = sorted(row["name"] for row in cursor.fetchall())  # type: ignore[call-overload]  # rows are dictionaries
        old = [name for name in names if name < _partition(oldest)]
        for name in old:
            cursor.execute(f"DROP TABLE {name}")  # from the catalogue, made by `served_requests_day`
    return old


def _partition(day: date) -> str:
    return f"{TABLE}_{day:%Y%m%d}"


def _ensure_day(cursor: "cursor", day: date) -> None:
    cursor.execute("SELECT to_regclass(%s) AS name", (_partition(day),))
    if cursor.fetchone()["name"] is None:  # type: ignore[index,call-overload]
        cursor.execute(f"SELECT {TABLE}_day(%s)", (day,))  # with its owner's rights: see the migration 0009


def _insert(cursor: "cursor", rows: Iterable[Row]) -> int:
    from psycopg2.extras import execute_values

    unique = {row.id: row for row in rows}.values()
    selected = ", ".join(f"v.{name}::{_CASTS.get(name, 'text')}" for name in COLUMNS)
    sql = f"""INSERT INTO {TABLE} ({", ".join(COLUMNS)}) SELECT {selected} FROM (VALUES %s) AS v ({", ".join(COLUMNS)})
        WHERE NOT EXISTS (SELECT 1 FROM {TABLE} AS s WHERE s.id = v.id::uuid)"""  # noqa: S608  # constants of this module
    template = "(" + ", ".join("to_timestamp(%s)" if name == "ts" else "%s" for name in COLUMNS) + ")"
    values = [tuple(getattr(row, name) for name in COLUMNS) for row in unique]
    execute_values(cursor, sql, values, template=template, page_size=len(values))
    return cursor.rowcount
