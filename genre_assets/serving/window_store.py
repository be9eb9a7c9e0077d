"""The table `drift_windows`: every window ever cut, with its verdict; and the log's rows that belong to one.

Windows are cut once (under a lock) and judged once; both steps may be repeated or interrupted without harm.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database
from genre_assets.serving import prediction_log
from genre_assets.serving.drift import windows
from genre_assets.serving.drift.verdict import Level
from genre_assets.serving.drift.windows import ClosedBy, Epoch, LogRow, Rules, Window

if TYPE_CHECKING:
    import pandas as pd
    from psycopg2.extensions import cursor

SETTLE = timedelta(seconds=1)  # rows this young may still be overtaken by older ones on their way
AT_ONCE = 20_000  # rows of the log cut in one go
LOCK = 20261125
DDL = """
CREATE TABLE IF NOT EXISTS drift_windows (
    id text PRIMARY KEY,
    route text NOT NULL,
    version int NOT NULL,
    feature_set_version text NOT NULL,
    opened_at timestamptz NOT NULL,
    first_id uuid NOT NULL,
    closed_at timestamptz NOT NULL,
    last_id uuid NOT NULL,
    closed_by text NOT NULL,          -- full | time | switch
    rows int NOT NULL,                -- of the log, repeats and errors included
    items int NOT NULL,               -- distinct sound items
    judged_at timestamptz,
    level text,                       -- of feature drift: ok | suspected | detected | inconclusive
    reason text,                      -- one sentence for people
    reference_version int,
    findings jsonb NOT NULL DEFAULT '{}',  -- one for each property
    report text                       -- key of the report for people, in the serving bucket
);
CREATE INDEX IF NOT EXISTS drift_windows_closed ON drift_windows (closed_at, last_id);
"""
_LIGHT_ROWS = """
SELECT id::text, ts, fingerprint, route, version, feature_set_version,
    error_code IS NULL AND features IS NOT NULL
    AND NOT ('NaN' = ANY(features) OR 'Infinity' = ANY(features) OR '-Infinity' = ANY(features)) AS sound
FROM served_requests
WHERE (%(ts)s::timestamptz IS NULL OR (ts, id) > (%(ts)s, %(id)s::uuid)) AND ts <= %(until)s
ORDER BY ts, served_requests.id LIMIT %(limit)s
"""
_INSERT = """
INSERT INTO drift_windows (id, route, version, feature_set_version, opened_at, first_id, closed_at, last_id, closed_by,
    rows, items) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Judgement:
    """A window with what was found; `level` is None until it is judged."""

    window: Window
    judged_at: datetime | None
    level: Level | None
    reason: str
    reference_version: int | None
    findings: dict[str, dict[str, Any]]
    report: str | None


def due(database: Database, rules: Rules, now: datetime | None = None) -> str | None:
    """Name of the first window that can be cut or waits for its verdict; None if there is nothing to do. Cheap."""
    _ensure(database)
    waiting = database.rows("SELECT id FROM drift_windows WHERE judged_at IS NULL ORDER BY closed_at, last_id LIMIT 1")
    if waiting:
        return str(waiting[0]["id"])
    with database.transaction() as cursor:
        found = _cut(cursor, rules, now or datetime.now(UTC))
    return found[0].id if found else None


def cut(database: Database, rules: Rules, now: datetime | None = None) -> list[Window]:
    """Cut every window that is complete, and keep it. Two callers at once cut each window once."""
    _ensure(database)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        found = _cut(cursor, rules, now or datetime.now(UTC))
        for w in found:
            epoch = (w.epoch.route, w.epoch.version, w.epoch.feature_set_version)
            span = (w.opened_at, w.first_id, w.closed_at, w.last_id)
            cursor.execute(_INSERT, (w.id, *epoch, *span, w.closed_by.value, w.rows, w.items))
    return found


def rows(database: Database, window: Window) -> "pd.DataFrame":
    """Every row of the log that lies in the window, oldest first, late answers of another model left out."""
    import pandas as pd

    columns = ", ".join(prediction_log.COLUMNS)
    found = database.rows(
        f"""SELECT {columns} FROM served_requests
        WHERE ts BETWEEN %(first)s AND %(last)s
        AND (ts, id) >= (%(first)s, %(first_id)s::uuid) AND (ts, id) <= (%(last)s, %(last_id)s::uuid)
        AND (route, version, feature_set_version) = (%(route)s, %(version)s, %(features)s) ORDER BY ts, id""",  # noqa: S608  # constants
        {
            "first": window.opened_at,
            "first_id": window.first_id,
            "last": window.closed_at,
            "last_id": window.last_id,
            "route": window.epoch.route,
            "version": window.epoch.version,
            "features": window.epoch.feature_set_version,
        },
    )
    return pd.DataFrame(found, columns=list(prediction_log.COLUMNS))


def keep_verdict(
    database: Database,
    window: str,
    *,
    level: Level,
    reason: str,
    reference_version: int | None,
    findings: dict[str, dict[str, Any]],
    again: bool = False,
) -> bool:
    """Write a window's verdict, once: False if it had one already (and `again` does not ask for a new one)."""
    touched = database.execute(
        """UPDATE drift_windows SET judged_at = now(), level = %s, reason = %s, reference_version = %s, findings = %s
        WHERE id = %s AND (judged_at IS NULL OR %s)""",
        (level.value, reason, reference_version, json.dumps(findings), window, again),
    )
    return touched == 1


def keep_finding(database: Database, window: str, name: str, finding: dict[str, Any]) -> None:
    """Replace one property's finding of a judged window."""
    database.execute(
        "UPDATE drift_windows SET findings = findings || jsonb_build_object(%s::text, %s::jsonb) WHERE id = %s",
        (name, json.dumps(finding), window),
    )


def keep_report(database: Database, window: str, key: str) -> None:
    """Remember where the window's report for people is."""
    database.execute("UPDATE drift_windows SET report = %s WHERE id = %s", (key, window))


def unjudged(database: Database) -> list[Judgement]:
    """Windows that wait for their verdict, oldest first."""
    _ensure(database)
    return _judgements(database.rows("SELECT * FROM drift_windows WHERE judged_at IS NULL ORDER BY closed_at, last_id"))


def every(database: Database, *, since: datetime | None = None) -> list[Judgement]:
    """Windows that closed since then, judged or not, oldest first."""
    _ensure(database)
    return _judgements(
        database.rows(
            """SELECT * FROM drift_windows WHERE %(since)s::timestamptz IS NULL OR closed_at >= %(since)s
            ORDER BY closed_at, last_id""",
            {"since": since},
        )
    )


def newest(database: Database, limit: int = 1, *, since: datetime | None = None) -> list[Judgement]:
    """Judged windows that opened after `since`, the newest first."""
    _ensure(database)
    return _judgements(
        database.rows(
            """SELECT * FROM drift_windows WHERE judged_at IS NOT NULL
            AND (%(since)s::timestamptz IS NULL OR opened_at >= %(since)s)
            ORDER BY closed_at DESC, last_id DESC LIMIT %(limit)s""",
            {"since": since, "limit": limit},
        )
    )


def freshness(database: Database) -> tuple[datetime | None, datetime | None]:
    """When the last item was answered, and since when the oldest window without a verdict waits."""
    _ensure(database)
    answered = database.rows("SELECT max(ts) AS at FROM served_requests")[0]["at"]
    return answered, database.rows("SELECT min(closed_at) AS at FROM drift_windows WHERE judged_at IS NULL")[0]["at"]


def newest_with(database: Database, name: str) -> Judgement | None:
    """The newest window in which this property could be judged."""
    _ensure(database)
    found = _judgements(
        database.rows(
            """SELECT * FROM drift_windows WHERE judged_at IS NOT NULL AND findings->%(name)s->>'level' <> 'inconclusive'
            ORDER BY closed_at DESC, last_id DESC LIMIT 1""",
            {"name": name},
        )
    )
    return found[0] if found else None


def earlier_p95(database: Database, window: Window, limit: int = 20) -> list[float]:
    """95th percentiles of the items' time in the windows before this one, of the same model."""
    found = database.rows(
        """SELECT (findings->'latency'->'values'->>'p95_ms')::float AS ms FROM drift_windows
        WHERE (route, version) = (%s, %s) AND closed_at < %s AND findings->'latency'->'values'->>'p95_ms' IS NOT NULL
        ORDER BY closed_at DESC LIMIT %s""",
        (window.epoch.route, window.epoch.version, window.opened_at, limit),
    )
    return [row["ms"] for row in found]


def by_id(database: Database, window: str) -> Judgement | None:
    """The window of this name."""
    _ensure(database)
    found = _judgements(database.rows("SELECT * FROM drift_windows WHERE id = %s", (window,)))
    return found[0] if found else None


def _ensure(database: Database) -> None:
    database.ensure(prediction_log.DDL)
    database.ensure(DDL)


def _cut(cursor: "cursor", rules: Rules, now: datetime) -> list[Window]:
    cursor.execute("SELECT * FROM drift_windows ORDER BY closed_at DESC, last_id DESC LIMIT 1")
    last = cursor.fetchone()
    previous = _window(dict(last)) if last else None
    after = {"ts": previous and previous.closed_at, "id": previous and previous.last_id}
    cursor.execute(_LIGHT_ROWS, {**after, "until": now - SETTLE, "limit": AT_ONCE})
    log = [_log_row(dict(row)) for row in cursor.fetchall()]
    return list(windows.cut(log, rules, now, before=previous.epoch if previous else None))


def _log_row(row: dict[str, Any]) -> LogRow:
    return LogRow(row["id"], row["ts"], row["fingerprint"], _epoch(row), bool(row["sound"]))


def _epoch(row: dict[str, Any]) -> Epoch:
    return Epoch(row["route"], row["version"], row["feature_set_version"])


def _window(row: dict[str, Any]) -> Window:
    return Window(
        id=row["id"],
        epoch=_epoch(row),
        opened_at=row["opened_at"],
        first_id=str(row["first_id"]),
        closed_at=row["closed_at"],
        last_id=str(row["last_id"]),
        rows=row["rows"],
        items=row["items"],
        closed_by=ClosedBy(row["closed_by"]),
    )


def _judgements(found: Sequence[dict[str, Any]]) -> list[Judgement]:
    return [
        Judgement(
            window=_window(row),
            judged_at=row["judged_at"],
            level=Level(row["level"]) if row["level"] else None,
            reason=row["reason"] or "",
            reference_version=row["reference_version"],
            findings=row["findings"],
            report=row["report"],
        )
        for row in found
    ]
