"""The platform's SQL over SQLite in memory: thousands of databases a second, for the simulator.

The statements are the real ones, translated from PostgreSQL's dialect. `test_sqlite_database.py` gives the statements of
whole schedules to PostgreSQL and compares every answer, so that the translation is no assumption.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from genre_assets.database import Database, Parameters
from genre_assets.errors import TransientFailure

TIMES = (
    "ts", "at", "opened_at", "closed_at", "judged_at", "decided_at", "switched_at", "dropped_at", "resolved_at", "seen_at",
    "told_at", "queued_at", "due_at", "delivered_at", "cut_at", "reported_at",
)  # fmt: skip
_LOOKED_AT = {  # the columns that invariants ask for, of tables with many
    "served_requests": "id",
    "audit": "id, subject, moved_from, moved_to, actor, reason",
    "drift_windows": "id, route, version, opened_at, first_id, closed_at, last_id, rows, items, judged_at, level",
    "alerts": "key, resolved_at",
    "alert_deliveries": "alert, delivered_at",
}
_decoded = json.JSONDecoder().decode
_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(TIMES, datetime.fromisoformat),
    **dict.fromkeys(("evidence", "findings", "links", "message"), lambda text: {} if text == "{}" else _decoded(text)),
    "pinned": bool,
}
_CHANGE = "INSERT INTO|UPDATE|DELETE FROM"
_AS_THEY_ARE = frozenset({str, int, float, bool, type(None)})
_TYPES = {
    r"(big)?int GENERATED ALWAYS AS IDENTITY PRIMARY KEY": "INTEGER PRIMARY KEY AUTOINCREMENT",
    r"DEFAULT (now|clock_timestamp)\(\)": "DEFAULT (now())",
    r"\(\(true\)\)": "((1))",
    r"PARTITION BY RANGE \(ts\)": "",
    r"\b(timestamptz|jsonb|uuid|real\[\])": "text",
    r"--[^\n]*": "",
    r"ADD COLUMN IF NOT EXISTS": "ADD COLUMN",
    r"(ADD COLUMN reported_at text) [^;]*": r"\1",  # the next statement drops its default
    r"(ALTER TABLE \w+ (ALTER|DROP CONSTRAINT|ADD CONSTRAINT)|COMMENT ON) [^;]*;": "",
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
    for there, here in (_TYPES if re.search("CREATE|ALTER", sql) else _DIALECT).items():
        sql = re.sub(there, here, sql)
    return sql


@cache
def prepared(sql: str) -> tuple[str, str | None]:
    """The statement as SQLite takes it, and the table that it changes."""
    found = re.match(rf"\s*(?:{_CHANGE})\s+(\w+)", sql)
    assert found or not re.search(rf"(?<!FOR )\b(?:{_CHANGE})\b", sql), f"which table does it change? {sql}"
    return translated(sql), found[1] if found else None


def stored(value: Any) -> Any:
    """A parameter as SQLite keeps it: times as text that sorts as they do."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", "microseconds")
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value


@dataclass
class Statement:
    """A statement as the platform gave it, when, and what came of it."""

    sql: str
    parameters: Parameters
    at: datetime
    rowcount: int
    rows: list[dict[str, Any]] = field(default_factory=list)  # those that were fetched
    whole: bool = False  # all were


class Reader:
    """Makes dictionaries of the rows of one statement, with the types that PostgreSQL would give."""

    def __init__(self, description: Any) -> None:
        self._names = [column[0] for column in description or ()]
        self._read = [(name, _READ[name]) for name in self._names if name in _READ]

    def __call__(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """The row by names."""
        found = dict(zip(self._names, row, strict=True))
        for name, read in self._read:
            if (value := found[name]) is not None:
                found[name] = read(value)
        return found


class Cursor:
    """What the platform uses of a psycopg2 cursor whose rows are dictionaries."""

    def __init__(self, database: "SqliteDatabase") -> None:
        self._database = database
        self._cursor = database.connection.cursor()
        self._reader = Reader(())
        self.statements: list[Statement] | None = None if database.committed is None else []

    @property
    def rowcount(self) -> int:
        """Rows that the statement touched."""
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Parameters = None) -> None:
        """Run one statement."""
        text, table = prepared(sql)
        if table is not None:
            self._database.changes(table)
        if parameters is None or type(parameters) is tuple:  # nearly always
            self._cursor.execute(text, [v if type(v) in _AS_THEY_ARE else stored(v) for v in parameters or ()])
        elif isinstance(parameters, Mapping):
            self._cursor.execute(text, {name: stored(value) for name, value in parameters.items()})
        else:
            self._cursor.execute(text, [*map(stored, parameters)])
        self._reader = self._database.reader(sql, self._cursor)
        if self.statements is not None:
            self.statements.append(Statement(sql, parameters, self._database.now(), self._cursor.rowcount))

    def fetchone(self) -> dict[str, Any] | None:
        """The next row."""
        row = self._cursor.fetchone()
        return None if row is None else self._fetched([row], whole=False)[0]

    def fetchall(self) -> list[dict[str, Any]]:
        """The rows that are left."""
        return self._fetched(self._cursor.fetchall(), whole=True)

    def _fetched(self, rows: list[tuple[Any, ...]], *, whole: bool) -> list[dict[str, Any]]:
        found = [*map(self._reader, rows)]
        if self.statements is not None:
            self.statements[-1].rows += found
            self.statements[-1].whole |= whole
        return found


class _Transaction:
    """A cursor, and what its end means."""

    def __init__(self, database: "SqliteDatabase") -> None:
        self._database = database

    def __enter__(self) -> Cursor:
        self._database.before()
        self._database.inside = True
        self._cursor = Cursor(self._database)
        return self._cursor

    def __exit__(self, kind: object, *_: object) -> None:
        database = self._database
        if database.connection.in_transaction:
            database.connection.execute("COMMIT" if kind is None else "ROLLBACK")
        database.inside = False
        if kind is None:
            if database.committed is not None:
                database.committed += self._cursor.statements or ()
            database.after()


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
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1024)
        self.connection.create_function("now", 0, lambda: stored(now()))
        self.connection.create_function("pg_advisory_xact_lock", 1, lambda _: 0)
        self.connection.create_function("starts_with", 2, lambda text, start: text.startswith(start))
        self.connection.execute("PRAGMA trusted_schema = ON")
        self.now = now
        self.before, self.after = before, after
        self.inside = False
        self.written: set[str] = set()  # tables, since somebody cleared it
        self.committed: list[Statement] | None = None  # a list keeps every statement that was committed
        self._readers: dict[str, Reader] = {}
        self._tables: dict[str, list[dict[str, Any]]] = {}  # as they were read, until they are written

    def transaction(self) -> Any:
        """As of PostgreSQL: committed at the end, rolled back on an exception."""
        return _Transaction(self)

    def changes(self, table: str) -> None:
        """A statement is about to change this table. What only reads needs no transaction: nobody comes between."""
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN")
        self.written.add(table)
        self._tables.pop(table, None)

    def reader(self, sql: str, cursor: sqlite3.Cursor) -> Reader:
        """What reads the rows of the statement that the cursor has run."""
        found = self._readers.get(sql)
        if found is None:
            found = self._readers[sql] = Reader(cursor.description)
        return found

    def create(self, ddl: str) -> None:
        """Run statements that make tables; no step of the simulation."""
        self.connection.executescript(translated(ddl))

    def table(self, name: str) -> list[dict[str, Any]]:
        """Every row that is committed, in the order in which they came: for the invariants, and to be left as it is.

        No step of the simulation, and possible while the database is away. Read once for as long as nobody writes.
        """
        assert not self.inside, "what a transaction has not committed is nobody's"
        found = self._tables.get(name)
        if found is None:
            sql = f"SELECT {_LOOKED_AT.get(name, '*')} FROM {name} ORDER BY rowid"
            cursor = self.connection.execute(sql)
            found = self._tables[name] = [*map(self.reader(sql, cursor), cursor)]
        return found

    def empty(self) -> None:
        """Forget every row: a new database for the price of a few deletes."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._tables.clear()
        tables = [row[0] for row in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            self.connection.execute(f"DELETE FROM {table}")


AWAY = TransientFailure("the database does not answer; is it up? Try: genre-assets status")
