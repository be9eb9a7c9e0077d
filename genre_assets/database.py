"""PostgreSQL, for the platform's own tables: prediction log, drift windows, routes, audit, alerts.

Each table has one module that speaks SQL to it; the tables themselves and their versions are in `migrations`. Values
always travel as parameters, never in the SQL text.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genre_assets import migrations
from genre_assets.errors import TransientFailure

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class that psycopg2 names in lower case
    from psycopg2.extensions import cursor

Parameters = Sequence[Any] | Mapping[str, Any] | None


class Database:
    """A small door to one database: a connection for each transaction, rows as dictionaries.

    The first transaction looks whether the platform's tables are of this code's version, or of a later one, and brings
    them up if not.

    Parameters
    ----------
    url : `postgresql://`, with or without SQLAlchemy's driver name.
    tables : whether it holds the platform's tables.
    """

    def __init__(self, url: str, *, tables: bool = True) -> None:
        self.url = url.replace("postgresql+psycopg2://", "postgresql://")
        self._looked = not tables

    @contextmanager
    def transaction(self) -> Iterator["cursor"]:
        """A cursor (rows are dictionaries) in one transaction: committed at the end, rolled back on an exception.

        Raises `TransientFailure` if the server does not answer, or goes away before the transaction has ended.
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
            self._bring_up(connection)
            with connection, connection.cursor() as cursor:
                yield cursor
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not connection.closed:
                raise  # a lock, a full disk: the server's answer to this statement
            raise TransientFailure(f"the database went away ({str(error).strip()}); try again") from error
        finally:
            connection.close()

    def version(self) -> str:
        """The version of the platform's tables; empty if there are none, or those of the first version."""
        with self.transaction() as cursor:
            return _version(cursor)

    def _bring_up(self, connection: "Connection") -> None:
        if self._looked:
            return
        with connection, connection.cursor() as cursor:
            stands = _version(cursor)
        if stands < migrations.HEAD:
            migrations.upgrade(self.url)
        self._looked = True

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


def _version(cursor: "cursor") -> str:
    cursor.execute("SELECT to_regclass(%s) AS name", (migrations.VERSION_TABLE,))
    if cursor.fetchone()["name"] is None:  # type: ignore[index,call-overload]  # rows are dictionaries
        return ""
    cursor.execute(f"SELECT version_num FROM {migrations.VERSION_TABLE}")  # noqa: S608  # a constant
    row: Any = cursor.fetchone()
    return row["version_num"] if row else ""
