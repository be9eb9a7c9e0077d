"""Alerts that open once, repeat after a cool-down and resolve; kept in the database, delivered with retries.

`report` says that something is wrong now, `resolve` that it is right again; both may be called at every tick. What
goes out is decided by the row of the alert, so a flapping source floods nobody. `deliver` sends what is due; a
delivery that fails is tried again with growing pauses and stays visible in `alert_deliveries`.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.serving.alerts import channels as alert_channels
from genre_assets.serving.alerts.channels import Channel, Message
from genre_assets.settings import Settings
from genre_assets.text import visible

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

LOCK = 20261127
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
ATTEMPTS = 20
DELIVERY_SECONDS = 30.0  # a sensor tick has sixty
CLAIM = timedelta(seconds=2 * DELIVERY_SECONDS)  # so long a message belongs to the one who sends it


@dataclass(frozen=True)
class Delivered:
    """What one call of `deliver` did; `failed` holds the reasons."""

    sent: int
    failed: tuple[str, ...]


class Alerts:
    """The alert book and its channels."""

    def __init__(self, database: Database, channels: Sequence[Channel], *, repeat: timedelta) -> None:
        self.database = database
        self.channels = list(channels)
        self.repeat = repeat

    @classmethod
    def from_settings(cls, settings: Settings) -> "Alerts":
        """As the settings say; nothing is connected yet."""
        return cls(
            Database(settings.database_url.get_secret_value()),
            alert_channels.from_settings(settings),
            repeat=timedelta(seconds=settings.alert_repeat_seconds),
        )

    def report(
        self,
        key: str,
        title: str,
        body: str,
        *,
        severity: str = "error",
        links: Mapping[str, str] | None = None,
        now: datetime | None = None,
        occasion: int | None = None,
    ) -> str:
        """Something is wrong: open the alert, or count it once more; returns opened, repeated, counted or known.

        People hear of it when it opens, and again when it is still reported after the cool-down. With an `occasion`
        (a growing number) nothing is told of one that is not newer than those told of before.
        """
        now = now or datetime.now(UTC)
        title, body = visible(title), visible(body)  # the words of other programs may hold what no table can
        with self._locked() as cursor:
            if occasion is not None and occasion <= _newest(cursor, key):
                return "known"
            cursor.execute("SELECT * FROM alerts WHERE key = %s AND resolved_at IS NULL", (key,))
            row: Any = cursor.fetchone()
            if row is None:
                cursor.execute(
                    """INSERT INTO alerts (key, severity, title, body, links, opened_at, seen_at, told_at, occasion)
                    VALUES (%(key)s, %(severity)s, %(title)s, %(body)s, %(links)s, %(now)s, %(now)s, %(now)s,
                        %(occasion)s) RETURNING *""",
                    {"key": key, "severity": severity, "title": title, "body": body,
                     "links": json.dumps(dict(links or {})), "now": now, "occasion": occasion},
                )  # fmt: skip
                self._queue(cursor, cursor.fetchone(), "opened", now)
                return "opened"
            cursor.execute(
                """UPDATE alerts SET seen = seen + 1, seen_at = %s, body = %s, links = %s, severity = %s,
                occasion = coalesce(%s, occasion) WHERE id = %s RETURNING *""",
                (now, body, json.dumps(dict(links or {})), severity, occasion, row["id"]),
            )
            row = cursor.fetchone()
            if now - row["told_at"] < self.repeat:
                return "counted"
            self._queue(cursor, row, "repeated", now)
            return "repeated"

    def resolve(
        self,
        key: str,
        body: str,
        *,
        links: Mapping[str, str] | None = None,
        now: datetime | None = None,
        occasion: int | None = None,
    ) -> bool:
        """It is right again: close the alert and say so; False if none was open, or one of a newer `occasion`."""
        now, body = now or datetime.now(UTC), visible(body)
        with self._locked() as cursor:
            if occasion is not None and occasion <= _newest(cursor, key):
                return False
            cursor.execute(
                """UPDATE alerts SET resolved_at = %s, occasion = coalesce(%s, occasion)
                WHERE key = %s AND resolved_at IS NULL RETURNING *""",
                (now, occasion, key),
            )
            row: Any = cursor.fetchone()
            if row is None:
                return False
            self._queue(cursor, {**row, "body": body, "links": dict(links or row["links"])}, "resolved", now)
            return True

    def open_keys(self, prefix: str = "") -> list[str]:
        """Keys of the alerts that are open."""
        rows = self.database.rows(
            "SELECT key FROM alerts WHERE resolved_at IS NULL AND starts_with(key, %s) ORDER BY id", (prefix,)
        )
        return [row["key"] for row in rows]

    def deliver(self, now: datetime | None = None) -> Delivered:
        """Send what is due, each channel in a thread of its own, and return after `DELIVERY_SECONDS` at most.

        A channel that fails rests until the next call; one that hangs is left behind, and gets no further message
        from this process before it has ended. Two callers at once send each message once. Raises `TransientFailure`
        when the database is away.
        """
        now = now or datetime.now(UTC)
        end = time.monotonic() + DELIVERY_SECONDS
        sendings = [_Sending(self.database, channel, now, end) for channel in self.channels]
        for sending in sendings:
            sending.start()
        for sending in sendings:
            sending.join(max(0.0, end - time.monotonic()))
        for problem in (s.problem for s in sendings if s.problem is not None):
            raise problem
        failed = [f"{s.channel.name} has not answered in {DELIVERY_SECONDS:g} s" for s in sendings if s.is_alive()]
        return Delivered(sum(s.sent for s in sendings), tuple(failed + [f for s in sendings for f in s.failed]))

    @contextmanager
    def _locked(self) -> Iterator["cursor"]:
        """A transaction over the book, one at a time."""
        with self.database.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            yield cursor

    def _queue(self, cursor: "cursor", row: Any, kind: str, now: datetime) -> None:
        """Queue one message for each channel."""
        cursor.execute("UPDATE alerts SET told_at = %s WHERE id = %s", (now, row["id"]))
        message = Message(row["key"], kind, row["severity"], row["title"], row["body"], row["links"], row["seen"])
        for channel in self.channels:
            cursor.execute(
                "INSERT INTO alert_deliveries (alert, channel, message, queued_at, due_at) VALUES (%s, %s, %s, %s, %s)",
                (row["id"], channel.name, json.dumps(message.__dict__), now, now),
            )


def _newest(cursor: "cursor", key: str) -> int:
    """The newest occasion that was told of under this key."""
    cursor.execute("SELECT coalesce(max(occasion), 0) AS occasion FROM alerts WHERE key = %s", (key,))
    row: Any = cursor.fetchone()
    return int(row["occasion"])


class _Sending(threading.Thread):
    """Sends what is due on one channel until nothing is, it fails, or the time is over."""

    _under_way: ClassVar[set[tuple[str, str]]] = set()
    _guard = threading.Lock()

    def __init__(self, database: Database, channel: Channel, now: datetime, end: float) -> None:
        super().__init__(name=f"alerts-{channel.name}", daemon=True)
        self.database, self.channel, self.now, self.end = database, channel, now, end
        self.sent = 0
        self.failed: list[str] = []
        self.problem: TransientFailure | None = None

    def run(self) -> None:
        """What went wrong with the channel is in `failed`, with the database in `problem`."""
        place = (self.database.url, self.channel.name)
        with self._guard:
            if place in self._under_way:
                self.failed.append(f"{self.channel.name} still has not answered an earlier message")
                return
            self._under_way.add(place)
        try:
            while time.monotonic() < self.end and (row := self._claim()) is not None:
                if not self._send(row):
                    return
        except TransientFailure as error:  # the database went away: what was claimed is sent again when its claim ends
            self.problem = error
        finally:
            with self._guard:
                self._under_way.discard(place)

    def _claim(self) -> dict[str, Any] | None:
        """The next message, counted as tried before it is, so that a crash in between cannot try for ever."""
        rows = self.database.rows(
            """UPDATE alert_deliveries SET attempts = attempts + 1, due_at = %(until)s,
                error = coalesce(error, 'it was being sent when the process ended')
            WHERE id = (SELECT id FROM alert_deliveries WHERE delivered_at IS NULL AND due_at <= %(now)s
                AND attempts < %(most)s AND channel = %(channel)s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING *""",
            {"until": self.now + CLAIM, "now": self.now, "most": ATTEMPTS, "channel": self.channel.name},
        )
        return rows[0] if rows else None

    def _send(self, row: dict[str, Any]) -> bool:
        problem = None
        try:
            self.channel.send(Message(**row["message"]))
        except TransientFailure as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  # a channel is a stranger's code: its bug must not stop the others
            problem = f"{self.channel.name}: {type(error).__name__}: {error}"
        if problem is None:
            self.sent += 1
            done = "UPDATE alert_deliveries SET delivered_at = %s, error = NULL WHERE id = %s"
            self.database.execute(done, (self.now, row["id"]))
            return True
        self.failed.append(problem)
        pause = min(FIRST_PAUSE * 2 ** (row["attempts"] - 1), LONGEST_PAUSE)
        again = "UPDATE alert_deliveries SET due_at = %s, error = %s WHERE id = %s"
        self.database.execute(again, (self.now + pause, visible(problem), row["id"]))
        return False
