"""PostgreSQL, for the platform's own tables: prediction log, drift windows, routes, audit, alerts.

Each stage owns its tables' DDL and hands it to `Database.ensure`, which runs it once in a process under an advisory
lock. Values always travel as parameters, never in the SQL text.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genre_assets.errors import TransientFailure

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

Parameters = Sequence[Any] | Mapping[str, Any] | None
SCHEMA_LOCK = 20261123  # any constant: one lock for all schema changes


class Database:
    """A small door to one database: a connection for each transaction, rows as dictionaries."""

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgresql+psycopg2://", "postgresql://")
        self._ensured: set[str] = set()

    @contextmanager
    def transaction(self) -> Iterator["cursor"]:
        """A cursor (rows are dictionaries) in one transaction: committed at the end, rolled back on an exception.

        Raises `TransientFailure` if the server does not answer.
        """
        import psycopg2
        from psycopg2.extras import RealDictCursor

        try:
            connection = psycopg2.connect(self.url, connect_timeout=5, cursor_factory=RealDictCursor)
        except psycopg2.OperationalError as error:
            raise TransientFailure(
                f"the database does not answer ({str(error).strip()}); is it up? Try: genre-assets status"
            ) from error
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def ensure(self, ddl: str) -> None:
        """Run idempotent DDL (`CREATE ... IF NOT EXISTS`), once in this process, one process at a time."""
        if ddl in self._ensured:
            return
        with self.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            cursor.execute(ddl)
        self._ensured.add(ddl)

    def rows(self, sql: str, parameters: Parameters = None) -> list[dict[str, Any]]:
        """Every row that the query returns."""
        with self.transaction() as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]

    def execute(self, sql: str, parameters: Parameters = None) -> int:
        """Run one statement; returns how many rows it touched."""
        with self.transaction() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount
