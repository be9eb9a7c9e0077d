"""The table `drift_windows`: every window ever cut, with its verdict; and the log's rows that belong to one.

Windows are cut once (under a lock) and evaluated once; both steps may be repeated or interrupted without harm.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.serving.drift import windows
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Finding, Findings
from genre_assets.serving.drift.windows import ClosedBy, Epoch, LogRow, Rules, Window

if TYPE_CHECKING:
    import pandas as pd
    from psycopg2.extensions import cursor

SETTLE = timedelta(seconds=1)  # rows this young may still be overtaken by older ones on their way
AT_ONCE = 20_000  # rows of the log cut in one go; more if no window ends among so many
MOST_AT_ONCE = 640_000
LOCK = 20261125
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
class DriftResult:
    """A window with what was found; `level` is None until it is evaluated."""

    window: Window
    evaluated_at: datetime | None  # the column `judged_at`
    level: Level | None
    reason: str
    reference_version: int | None
    findings: Findings
    report: str | None

    def as_json(self) -> dict[str, Any]:
        """As plain JSON, for programs; `level` is None until it is evaluated."""
        window = self.window
        return {
            "id": window.id, "route": window.epoch.route, "version": window.epoch.version,
            "opened_at": window.opened_at.isoformat(), "closed_at": window.closed_at.isoformat(),
            "closed_by": window.closed_by.value, "items": window.items, "rows": window.rows,
            "level": self.level.value if self.level else None, "reason": self.reason,
            "findings": {str(name): finding.as_json() for name, finding in self.findings.items()},
        }  # fmt: skip


def due(database: Database, rules: Rules, now: datetime | None = None) -> str | None:
    """Name of the first window that can be cut, or waits for its verdict or its report; None if none does. Cheap."""
    waiting = database.rows(
        "SELECT id FROM drift_windows WHERE judged_at IS NULL OR reported_at IS NULL ORDER BY closed_at, last_id LIMIT 1"
    )
    if waiting:
        return str(waiting[0]["id"])
    with database.transaction() as cursor:
        found = _cut(cursor, rules, now or datetime.now(UTC))
    return found[0].id if found else None


def cut(database: Database, rules: Rules, now: datetime | None = None) -> list[Window]:
    """Cut every window that is complete, and keep it. Two callers at once cut each window once."""
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

    columns = ", ".join(request_log.COLUMNS)
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
    return pd.DataFrame(found, columns=list(request_log.COLUMNS))


def save_result(
    database: Database,
    window: str,
    *,
    level: Level,
    reason: str,
    reference_version: int | None,
    findings: Findings,
    again: bool = False,
) -> bool:
    """Write a window's verdict, once: False if it had one already (and `again` does not ask for a new one)."""
    kept = {str(name): finding.as_json() for name, finding in findings.items()}
    touched = database.execute(
        """UPDATE drift_windows SET judged_at = now(), level = %s, reason = %s, reference_version = %s, findings = %s
        WHERE id = %s AND (judged_at IS NULL OR %s)""",
        (level.value, reason, reference_version, json.dumps(kept), window, again),
    )
    return touched == 1


def save_finding(database: Database, window: str, name: str, finding: Finding) -> None:
    """Replace one property's finding of an evaluated window."""
    database.execute(
        "UPDATE drift_windows SET findings = findings || jsonb_build_object(%s::text, %s::jsonb) WHERE id = %s",
        (name, json.dumps(finding.as_json()), window),
    )


def save_report(database: Database, window: str, key: str) -> None:
    """Remember where the window's report for people is."""
    database.execute("UPDATE drift_windows SET report = %s WHERE id = %s", (key, window))


def unevaluated(database: Database) -> list[DriftResult]:
    """Windows that wait for their verdict, oldest first."""
    return drift_results(
        database.rows("SELECT * FROM drift_windows WHERE judged_at IS NULL ORDER BY closed_at, last_id")
    )


def every(database: Database, *, since: datetime | None = None) -> list[DriftResult]:
    """Windows that closed since then, evaluated or not, oldest first."""
    return drift_results(
        database.rows(
            """SELECT * FROM drift_windows WHERE %(since)s::timestamptz IS NULL OR closed_at >= %(since)s
            ORDER BY closed_at, last_id""",
            {"since": since},
        )
    )


def newest(database: Database, limit: int = 1, *, since: datetime | None = None) -> list[DriftResult]:
    """Evaluated windows that opened after `since`, the newest first."""
    return drift_results(
        database.rows(
            """SELECT * FROM drift_windows WHERE judged_at IS NOT NULL
            AND (%(since)s::timestamptz IS NULL OR opened_at >= %(since)s)
            ORDER BY closed_at DESC, last_id DESC LIMIT %(limit)s""",
            {"since": since, "limit": limit},
        )
    )


def newest_one(database: Database) -> DriftResult | None:
    """The newest evaluated window, if there is one."""
    return next(iter(newest(database)), None)


def newest_drawn(database: Database) -> datetime | None:
    """When the newest window with a page was evaluated."""
    found: datetime | None = database.rows("SELECT max(judged_at) AS at FROM drift_windows WHERE report IS NOT NULL")[
        0
    ]["at"]
    return found


def newest_with(database: Database, name: str) -> DriftResult | None:
    """The newest window in which this property could be evaluated."""
    found = drift_results(
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


def by_id(database: Database, window: str) -> DriftResult | None:
    """The window of this name."""
    found = drift_results(database.rows("SELECT * FROM drift_windows WHERE id = %s", (window,)))
    return found[0] if found else None


def _cut(cursor: "cursor", rules: Rules, now: datetime) -> list[Window]:
    cursor.execute("SELECT * FROM drift_windows ORDER BY closed_at DESC, last_id DESC LIMIT 1")
    last = cursor.fetchone()
    previous = _window(dict(last)) if last else None
    after = {"ts": previous and previous.closed_at, "id": previous and previous.last_id}
    limit = AT_ONCE
    while True:
        cursor.execute(_LIGHT_ROWS, {**after, "until": now - SETTLE, "limit": limit})
        log = [_log_row(dict(row)) for row in cursor.fetchall()]
        found = list(windows.cut(log, rules, now, before=previous.epoch if previous else None))
        if found or len(log) < limit or limit >= MOST_AT_ONCE:
            return found
        limit *= 2


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


def drift_results(found: Sequence[dict[str, Any]]) -> list[DriftResult]:
    """Rows of the table as what they say."""
    return [
        DriftResult(
            window=_window(row),
            evaluated_at=row["judged_at"],
            level=Level(row["level"]) if row["level"] else None,
            reason=row["reason"] or "",
            reference_version=row["reference_version"],
            findings={name: Finding.from_json(kept) for name, kept in row["findings"].items()},
            report=row["report"],
        )
        for row in found
    ]
