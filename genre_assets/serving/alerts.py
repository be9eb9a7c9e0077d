"""Alerts that open once, repeat after a cool-down and resolve; kept in the database, delivered with retries.

`report` says that something is wrong now, `resolve` that it is right again; both may be called at every tick. What
goes out is decided by the row of the alert, so a flapping source floods nobody. `deliver` sends what is due; a
delivery that fails is tried again with growing pauses and stays visible in `alert_deliveries`.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.serving import alert_channels
from genre_assets.serving.alert_channels import Channel, Message
from genre_assets.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

LOCK = 20261127
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
ATTEMPTS = 20
DELIVERY_SECONDS = 30.0  # a sensor tick has sixty
DDL = """
CREATE TABLE IF NOT EXISTS alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,                -- what is wrong: one open alert for each key
    severity text NOT NULL,           -- warning | error
    title text NOT NULL,
    body text NOT NULL,
    links jsonb NOT NULL DEFAULT '{}',
    opened_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    seen int NOT NULL DEFAULT 1,
    told_at timestamptz NOT NULL,     -- when the last message was queued
    resolved_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_one_open ON alerts (key) WHERE resolved_at IS NULL;
CREATE TABLE IF NOT EXISTS alert_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert bigint NOT NULL REFERENCES alerts (id),
    channel text NOT NULL,
    message jsonb NOT NULL,
    queued_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    error text
);
CREATE INDEX IF NOT EXISTS alert_deliveries_due ON alert_deliveries (due_at) WHERE delivered_at IS NULL;
"""


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
    ) -> str:
        """Something is wrong: open the alert, or count it once more; returns opened, repeated or counted.

        People hear of it when it opens, and again when it is still reported after the cool-down.
        """
        now = now or datetime.now(UTC)
        with self._locked() as cursor:
            cursor.execute("SELECT * FROM alerts WHERE key = %s AND resolved_at IS NULL", (key,))
            row: Any = cursor.fetchone()
            if row is None:
                cursor.execute(
                    """INSERT INTO alerts (key, severity, title, body, links, opened_at, seen_at, told_at)
                    VALUES (%(key)s, %(severity)s, %(title)s, %(body)s, %(links)s, %(now)s, %(now)s, %(now)s)
                    RETURNING *""",
                    {"key": key, "severity": severity, "title": title, "body": body,
                     "links": json.dumps(dict(links or {})), "now": now},
                )  # fmt: skip
                self._queue(cursor, cursor.fetchone(), "opened", now)
                return "opened"
            cursor.execute(
                """UPDATE alerts SET seen = seen + 1, seen_at = %s, body = %s, links = %s, severity = %s
                WHERE id = %s RETURNING *""",
                (now, body, json.dumps(dict(links or {})), severity, row["id"]),
            )
            row = cursor.fetchone()
            if now - row["told_at"] < self.repeat:
                return "counted"
            self._queue(cursor, row, "repeated", now)
            return "repeated"

    def resolve(
        self, key: str, body: str, *, links: Mapping[str, str] | None = None, now: datetime | None = None
    ) -> bool:
        """It is right again: close the alert and say so; False if none was open."""
        now = now or datetime.now(UTC)
        with self._locked() as cursor:
            cursor.execute(
                "UPDATE alerts SET resolved_at = %s WHERE key = %s AND resolved_at IS NULL RETURNING *", (now, key)
            )
            row: Any = cursor.fetchone()
            if row is None:
                return False
            self._queue(cursor, {**row, "body": body, "links": dict(links or row["links"])}, "resolved", now)
            return True

    def open_keys(self, prefix: str = "") -> list[str]:
        """Keys of the alerts that are open."""
        self.database.ensure(DDL)
        rows = self.database.rows(
            "SELECT key FROM alerts WHERE resolved_at IS NULL AND starts_with(key, %s) ORDER BY id", (prefix,)
        )
        return [row["key"] for row in rows]

    def deliver(self, now: datetime | None = None) -> Delivered:
        """Send what is due, for `DELIVERY_SECONDS` at most. Two callers at once send each message once."""
        self.database.ensure(DDL)
        now = now or datetime.now(UTC)
        by_name = {channel.name: channel for channel in self.channels}
        sent, failed = 0, []
        end = time.monotonic() + DELIVERY_SECONDS
        with self.database.transaction() as cursor:
            cursor.execute(
                """SELECT * FROM alert_deliveries WHERE delivered_at IS NULL AND due_at <= %s AND attempts < %s
                AND channel = ANY(%s) ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED""",
                (now, ATTEMPTS, list(by_name)),
            )
            due: Any = cursor.fetchall()
            for row in due:
                if time.monotonic() > end:
                    break
                try:
                    by_name[row["channel"]].send(Message(**row["message"]))
                except TransientFailure as error:
                    failed.append(str(error))
                    pause = min(FIRST_PAUSE * 2 ** row["attempts"], LONGEST_PAUSE)
                    cursor.execute(
                        "UPDATE alert_deliveries SET attempts = attempts + 1, due_at = %s, error = %s WHERE id = %s",
                        (now + pause, str(error), row["id"]),
                    )
                else:
                    sent += 1
                    cursor.execute(
                        "UPDATE alert_deliveries SET attempts = attempts + 1, delivered_at = %s, error = NULL WHERE id = %s",
                        (now, row["id"]),
                    )
        return Delivered(sent, tuple(failed))

    @contextmanager
    def _locked(self) -> Iterator["cursor"]:
        """A transaction over the book, one at a time."""
        self.database.ensure(DDL)
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
