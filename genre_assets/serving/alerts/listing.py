"""The alerts as people see them: what is open, since when, who was notified, and what could not be delivered.

They come from two places: the database (checks, runs, the platform), and the file in which the supervisor keeps its own
alerts, which is there when the database is not.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.serving.alerts.manager import ATTEMPTS

NO_CHANNEL = "no channel is set (GENRE_ALERT_WEBHOOK, GENRE_ALERT_URLS)"
_DELIVERIES = """
SELECT a.*, coalesce(json_agg(json_build_object('channel', d.channel, 'kind', d.message->>'kind',
    'attempts', d.attempts, 'delivered_at', d.delivered_at, 'error', d.error) ORDER BY d.id)
    FILTER (WHERE d.id IS NOT NULL), '[]') AS deliveries
FROM alerts a LEFT JOIN alert_deliveries d ON d.alert = a.id
WHERE a.resolved_at IS NULL OR %s
GROUP BY a.id ORDER BY (a.resolved_at IS NOT NULL), a.opened_at DESC LIMIT %s
"""


@dataclass(frozen=True)
class Shown:
    """One alert. Times are ISO 8601; `source` is platform or supervisor; `notified` has a line for each delivery."""

    key: str
    severity: str
    title: str
    body: str
    links: dict[str, str]
    opened_at: str
    resolved_at: str | None
    seen: int | None
    notified: tuple[str, ...]
    source: str

    def as_json(self) -> dict[str, Any]:
        """As `genre-assets alerts --json` prints it."""
        return asdict(self)


def from_database(database: Database, *, resolved: bool = False, limit: int = 100) -> list[Shown]:
    """Open alerts, newest first; then the resolved ones, if they are wanted."""
    return [
        Shown(
            row["key"], row["severity"], row["title"], row["body"], row["links"], _iso(row["opened_at"]),
            _iso(row["resolved_at"]) if row["resolved_at"] else None, row["seen"],
            tuple(map(_of_delivery, row["deliveries"])), "platform",
        )
        for row in database.rows(_DELIVERIES, (resolved, limit))
    ]  # fmt: skip


def supervisors_file(home: Path) -> Path:
    """Where the supervisor of the stack in `home` keeps its own alerts."""
    return home / "run" / "alerts.json"


def from_file(path: Path, *, resolved: bool = False) -> list[Shown]:
    """The supervisor's own alerts; none if it has written none. Raises `BadInput` if the file cannot be read."""
    try:
        rows = json.loads(path.read_text())
        shown = [
            Shown(
                row["key"], row["severity"], row["title"], row["body"], {}, row["opened_at"], row.get("resolved_at"),
                None, (), "supervisor",
            )
            for row in rows
        ]  # fmt: skip
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"the supervisor's alerts in {path} cannot be read: {error}") from error
    kept = sorted((s for s in shown if resolved or s.resolved_at is None), key=lambda s: s.opened_at, reverse=True)
    return sorted(kept, key=lambda s: s.resolved_at is not None)


def in_short(database: Database) -> str:
    """How many alerts are open, with their titles, as one line; and how many messages were given up."""
    shown = from_database(database, limit=20)
    titles = "; ".join(s.title for s in shown[:5]) + ("; ..." if len(shown) > 5 else "")
    lines = [f"{len(shown)} alerts are open: {titles}" if shown else "no alert is open"]
    (row,) = database.rows(
        "SELECT count(*) AS n FROM alert_deliveries d JOIN alerts a ON a.id = d.alert"
        " WHERE d.delivered_at IS NULL AND d.attempts >= %s AND a.resolved_at IS NULL",
        (ATTEMPTS,),
    )
    if row["n"]:
        lines.append(f"{row['n']} messages were given up: see genre-assets alerts")
    return "; ".join(lines)


def _of_delivery(row: dict[str, Any]) -> str:
    what = f"{row['kind']}, {row['channel']}"
    if row["delivered_at"]:
        return f"{what}: delivered {_iso(datetime.fromisoformat(row['delivered_at']))}"
    if row["attempts"] >= ATTEMPTS:
        return f"{what}: GIVEN UP after {row['attempts']} attempts: {row['error']}"
    if row["attempts"]:
        return f"{what}: not delivered yet, {row['attempts']} of {ATTEMPTS} attempts: {row['error']}"
    return f"{what}: waits to be sent"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
