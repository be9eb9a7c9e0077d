"""Whole schedules of SQL, given to PostgreSQL too: every answer must be the one that SQLite gave."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from genre_assets.database import Database
from genre_assets_tests.simulator.schedule import VERSIONS, simulator
from genre_assets_tests.simulator.sqlite_database import Statement

SEEDS = range(1, 81)
CLOCK = """
CREATE SCHEMA simulated;
CREATE TABLE simulated.clock (now timestamptz NOT NULL);
INSERT INTO simulated.clock VALUES (pg_catalog.now());
CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now FROM simulated.clock';
"""
# What is named here is found first: `now()` of the statements, and of the defaults of tables made in such a session.
PATH = "SET search_path = simulated, public, pg_catalog"


def test_postgresql_answers_every_statement_as_sqlite_did(bare_database: Database) -> None:
    with connected(bare_database) as cursor:
        cursor.execute(CLOCK)
        cursor.execute(PATH)
        for version in VERSIONS:
            cursor.execute(version)
        cursor.execute("CREATE TABLE public.served_requests_all PARTITION OF served_requests DEFAULT")
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
                       "AND table_schema IN ('public', 'simulated') AND table_name <> 'clock'")  # fmt: skip
        tables = ", ".join(str(row["table_name"]) for row in cursor.fetchall())
        compared = 0
        with simulator() as made:
            for seed in SEEDS:
                statements = made.database.committed = []
                made.run(seed)
                cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY")
                for number, statement in enumerate(statements):
                    here, there = answers(cursor, statement)
                    assert there == here, f"seed {seed}, statement {number}: {statement.sql}\n{statement.parameters}"
                    compared += len(statement.rows)
    assert compared > 30 * len(SEEDS), "schedules that read nothing compare nothing"


def answers(cursor: Any, statement: Statement) -> tuple[object, object]:
    """What SQLite answered, and what PostgreSQL answers: rows that were read, else how many were touched."""
    cursor.execute("UPDATE simulated.clock SET now = %s", (statement.at,))
    cursor.execute(statement.sql, statement.parameters)
    if cursor.description is None:
        return statement.rowcount, cursor.rowcount
    here, there = [alike(row) for row in statement.rows], [alike(dict(row)) for row in cursor.fetchall()]
    if not statement.whole:
        there = there[: len(here)]
    if "ORDER BY" not in statement.sql:
        return sorted(here, key=repr), sorted(there, key=repr)
    return here, there


def alike(row: dict[str, Any]) -> dict[str, Any]:
    """Times in one zone, truths as such."""
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in row.items()
        if name != "pg_advisory_xact_lock"
    }


@contextmanager
def connected(database: Database) -> Iterator[Any]:
    """A cursor whose statements are committed one by one."""
    import psycopg2
    from psycopg2.extras import RealDictCursor

    connection = psycopg2.connect(database.url, cursor_factory=RealDictCursor)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
