"""The books of the replicas: which release and route all of them are to serve, and what each reported last.

A wish is a row of `replica_wishes`. The newest one that was not withdrawn is what every replica goes to; it counts as applied
once all that live have reported it. Written by whoever promotes and, in `replicas`, by the agent beside each Triton.
"""

import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class that psycopg2 names in lower case

CHANNEL = "genre_replicas"
FORGOTTEN = "1 day"  # a replica that said nothing for so long is gone for good, its row too
_COLUMNS = (
    "generation, release, route, has_fallback, applied_at IS NOT NULL AS applied, "
    "extract(epoch FROM clock_timestamp() - wanted_at)::float AS age"
)


@dataclass(frozen=True)
class Wish:
    """What all replicas are to serve. `age` is in seconds; `applied` is that all who lived have reported it."""

    generation: int
    release: str
    route: str
    has_fallback: bool = True
    applied: bool = True
    age: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Report:
    """What one replica said last. `age` is in seconds since then, by the database's clock."""

    replica: str
    generation: int  # of the wish that it serves; 0 if none
    release: str | None
    route: str | None
    healthy: bool
    refused: int | None = None  # generation that it cannot serve
    why: str = ""
    age: float = 0.0

    def serves(self, wish: Wish) -> bool:
        """Whether it answers as the wish wants it."""
        return self.healthy and self.generation == wish.generation


def wanted(database: Database) -> Wish | None:
    """What all are to serve; None before the first release."""
    return _one(database, "withdrawn_at IS NULL")


def applied(database: Database) -> Wish | None:
    """The newest wish that all replicas have served; None before the first."""
    return _one(database, "withdrawn_at IS NULL AND applied_at IS NOT NULL")


def want(database: Database, release: str, route: str, *, has_fallback: bool) -> Wish:
    """Let all replicas go to this release and route; what they are on their way to already is no new wish."""
    with database.transaction() as cursor:
        cursor.execute("LOCK TABLE replica_wishes IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            f"SELECT {_COLUMNS} FROM replica_wishes WHERE withdrawn_at IS NULL ORDER BY generation DESC LIMIT 1"  # noqa: S608
        )
        now: Any = cursor.fetchone()
        if now and (now["release"], now["route"]) == (release, route):
            return Wish(**now)
        cursor.execute(
            f"INSERT INTO replica_wishes (release, route, has_fallback) VALUES (%s, %s, %s) RETURNING {_COLUMNS}",  # noqa: S608
            (release, route, has_fallback),
        )
        made: Any = cursor.fetchone()
        cursor.execute(f"NOTIFY {CHANNEL}")
        return Wish(**made)


def apply(database: Database, wish: Wish) -> bool:
    """All replicas that live serve it. Returns whether it is still what is wanted."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE replica_wishes SET applied_at = coalesce(applied_at, clock_timestamp()) WHERE generation = %s AND generation = "
            "(SELECT max(generation) FROM replica_wishes WHERE withdrawn_at IS NULL)",
            (wish.generation,),
        )
        done = cursor.rowcount == 1
        cursor.execute(f"NOTIFY {CHANNEL}")
        return done


def withdraw(database: Database, wish: Wish, why: str) -> None:
    """Let all go back to what was wanted before, unless the wish was applied."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE replica_wishes SET withdrawn_at = clock_timestamp(), why = %s "
            "WHERE generation = %s AND applied_at IS NULL AND withdrawn_at IS NULL",
            (why, wish.generation),
        )
        cursor.execute(f"NOTIFY {CHANNEL}")


def report(database: Database, said: Report) -> None:
    """Keep what a replica says of itself, and forget those that are gone for good."""
    with database.transaction() as cursor:
        cursor.execute(
            """INSERT INTO replicas (replica, generation, release, route, healthy, refused, why, reported_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
            ON CONFLICT (replica) DO UPDATE SET generation = excluded.generation, release = excluded.release,
            route = excluded.route, healthy = excluded.healthy, refused = excluded.refused, why = excluded.why,
            reported_at = excluded.reported_at""",
            (said.replica, said.generation, said.release, said.route, said.healthy, said.refused, said.why),
        )
        cursor.execute(f"DELETE FROM replicas WHERE reported_at < clock_timestamp() - interval '{FORGOTTEN}'")  # noqa: S608


def forget(database: Database, replica: str) -> None:
    """A replica ends in order: nobody waits for it."""
    database.execute("DELETE FROM replicas WHERE replica = %s", (replica,))


def ask_for_reports(database: Database) -> None:
    """Have the replicas say at once how they stand."""
    database.execute(f"NOTIFY {CHANNEL}")


def reports(database: Database) -> list[Report]:
    """What each replica said last, by name."""
    found = database.rows(
        """SELECT replica, generation, release, route, healthy, refused, why,
        extract(epoch FROM clock_timestamp() - reported_at)::float AS age FROM replicas ORDER BY replica"""
    )
    return [Report(**row) for row in found]


def has_fallback(settings: Settings, database: Database) -> bool:
    """Whether what serves has a fallback; as if it had, before the first release and where it cannot be read."""
    if not settings.serving_agents:
        return ModelRepository(settings.repository).has_fallback
    now = applied(database)
    return now is None or now.has_fallback


class Listener:
    """Word that something has changed in the books, over a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._url = database.url
        self._connection: Connection | None = None

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for word; whether it came. Without the database it waits, and tries again the next time."""
        import psycopg2

        end = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._url, connect_timeout=2)
                self._connection.autocommit = True
                with self._connection.cursor() as cursor:
                    cursor.execute(f"LISTEN {CHANNEL}")
                return True  # whatever was said before is not heard
            ready, _, _ = select.select([self._connection], [], [], seconds)
            if ready:
                self._connection.poll()
                self._connection.notifies.clear()
            return bool(ready)
        except (psycopg2.Error, OSError):
            self.close()
            time.sleep(max(0.0, end - time.monotonic()))
            return False

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _one(database: Database, which: str) -> Wish | None:
    rows = database.rows(f"SELECT {_COLUMNS} FROM replica_wishes WHERE {which} ORDER BY generation DESC LIMIT 1")  # noqa: S608
    return Wish(**rows[0]) if rows else None
