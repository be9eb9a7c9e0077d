"""The audit table: every move of a model, a route or a file in quarantine, who or what made it, when, why, from what to what."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

_INSERT = """
INSERT INTO audit (subject, moved_from, moved_to, actor, reason, evidence) VALUES (%s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True)
class Move:
    """One row of the audit table. `at` is in UTC."""

    id: int
    at: datetime
    subject: str
    moved_from: str | None
    moved_to: str
    actor: str
    reason: str
    evidence: dict[str, Any]


def record(
    database: Database,
    subject: str,
    *,
    moved_from: str | None,
    moved_to: str,
    actor: str,
    reason: str,
    evidence: dict[str, Any] | None = None,
    cursor: "cursor | None" = None,
) -> None:
    """Write one move; with `cursor`, in the caller's transaction, so that the move and its record stand or fall together."""
    values = (subject, moved_from, moved_to, actor, reason, json.dumps(evidence or {}))
    if cursor is not None:
        cursor.execute(_INSERT, values)
    else:
        database.execute(_INSERT, values)


def history(database: Database, *, limit: int = 50, subject: str | None = None, but: str | None = None) -> list[Move]:
    """The newest moves first: all, those of one subject, or all `but` those of one."""
    rows = database.rows(
        """
        SELECT * FROM audit WHERE (%(subject)s IS NULL OR subject = %(subject)s) AND (%(but)s IS NULL OR subject <> %(but)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"subject": subject, "but": but, "limit": limit},
    )
    return [Move(**row) for row in rows]
