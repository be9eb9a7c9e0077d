"""The platform's SQL over SQLite in memory: thousands of databases a second, for the simulator.

The statements are the real ones, translated from PostgreSQL's dialect. `test_simulator.py` runs the same schedules over
PostgreSQL and compares what comes out, so that the translation is no assumption.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from genre_assets.database import Database, Parameters
from genre_assets.errors import TransientFailure

TIMES = (
    "ts", "at", "opened_at", "closed_at", "judged_at", "decided_at", "switched_at", "dropped_at", "resolved_at", "seen_at",
    "told_at", "queued_at", "due_at", "delivered_at",
)  # fmt: skip
_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(TIMES, datetime.fromisoformat),
    **dict.fromkeys(("evidence", "findings", "links", "message"), json.loads),
    "pinned": bool,
}
_TYPES = {
    r"bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY": "INTEGER PRIMARY KEY AUTOINCREMENT",
    r"DEFAULT now\(\)": "DEFAULT (now())",
    r"\(\(true\)\)": "((1))",
    r"PARTITION BY RANGE \(ts\)": "",
    r"\b(timestamptz|jsonb|uuid|real\[\])": "text",
    r"--[^\n]*": "",
    r"ALTER TABLE [^;]*;": "",
}
_DIALECT = {
    r"::\w+(\[\])?": "",
    r"%\((\w+)\)s": r":\1",
    r"%s": "?",
    r"FOR UPDATE SKIP LOCKED": "",
    r"'(NaN|-?Infinity)' = ANY\(features\)": r"instr(features, '\1') > 0",
}


@cache
def translated(sql: str) -> str:
    """The statement as SQLite takes it."""
    for there, here in (_TYPES if "CREATE" in sql else _DIALECT).items():
        sql = re.sub(there, here, sql)
    return sql


@cache
def written(sql: str) -> str | None:
    """The table that the statement changes."""
    found = re.match(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", sql)
    return found[1] if found else None


def stored(value: Any) -> Any:
    """A parameter as SQLite keeps it: times as text that sorts as they do."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", "microseconds")
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value


class Cursor:
    """What the platform uses of a psycopg2 cursor whose rows are dictionaries."""

    def __init__(self, connection: sqlite3.Connection, written: set[str]) -> None:
        self._cursor = connection.cursor()
        self._written = written

    @property
    def rowcount(self) -> int:
        """Rows that the statement touched."""
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Parameters = None) -> None:
        """Run one statement."""
        if (table := written(sql)) is not None:
            self._written.add(table)
        if isinstance(parameters, Mapping):
            self._cursor.execute(translated(sql), {name: stored(value) for name, value in parameters.items()})
        else:
            self._cursor.execute(translated(sql), [stored(value) for value in parameters or ()])

    def fetchone(self) -> dict[str, Any] | None:
        """The next row."""
        row = self._cursor.fetchone()
        return None if row is None else self._row(row)

    def fetchall(self) -> list[dict[str, Any]]:
        """The rows that are left."""
        return [self._row(row) for row in self._cursor.fetchall()]

    def _row(self, row: tuple[Any, ...]) -> dict[str, Any]:
        names = [column[0] for column in self._cursor.description]
        found = dict(zip(names, row, strict=True))
        for name in names:
            if found[name] is not None and (read := _READ.get(name)):
                found[name] = read(found[name])
        return found


class SqliteDatabase(Database):
    """A `Database` in memory. Transactions are atomic and one at a time; the world is asked before each.

    Parameters
    ----------
    now : the time, for `now()`.
    before : called before each transaction; it may pause, kill the caller, or raise `TransientFailure`.
    after : called after each that was committed.
    """

    def __init__(self, now: Callable[[], datetime], before: Callable[[], None], after: Callable[[], None]) -> None:
        super().__init__("sqlite:")
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.create_function("now", 0, lambda: stored(now()))
        self._connection.create_function("pg_advisory_xact_lock", 1, lambda _: 0)
        self._connection.create_function("starts_with", 2, lambda text, start: text.startswith(start))
        self._connection.execute("PRAGMA trusted_schema = ON")
        self.before, self.after = before, after
        self.inside = False
        self.written: set[str] = set()  # tables, since somebody cleared it

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """As of PostgreSQL: committed at the end, rolled back on an exception."""
        self.before()
        self._connection.execute("BEGIN")
        self.inside = True
        try:
            yield Cursor(self._connection, self.written)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self.inside = False
        self.after()

    def ensure(self, ddl: str) -> None:
        """Run the DDL once; no step of the simulation."""
        if ddl not in self._ensured:
            self._connection.executescript(translated(ddl))
            self._ensured.add(ddl)

    def asked(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Rows for the invariants: no step of the simulation, and possible while the database is away."""
        cursor = Cursor(self._connection, set())
        cursor.execute(sql, parameters)
        return cursor.fetchall()

    def empty(self) -> None:
        """Forget every row: a new database for the price of a few deletes."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        tables = [row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            self._connection.execute(f"DELETE FROM {table}")


AWAY = TransientFailure("the database does not answer; is it up? Try: genre-assets status")
