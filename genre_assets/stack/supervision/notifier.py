"""Notifying people of services that are down, by the supervisor itself: without database, Dagster or object store.

What is wrong is kept in a small file of the state folder, which `genre-assets alerts` shows, and sent to the same
channels as every other alert. Sending has a thread of its own: a channel that hangs holds up nobody.
"""

import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from genre_assets.disk.whole import write_whole
from genre_assets.serving.alerts.channels import Channel, Message
from genre_assets.serving.alerts.listing import supervisors_file

GRACE_SECONDS = 15.0  # a restart is nobody's business
LOOP_RESTARTS = 4  # within LOOP_SECONDS: it is restarted again and again
LOOP_SECONDS = 600.0
LONGEST_PAUSE = 60.0
ATTEMPTS = 60  # about an hour; then the next message of the channel has its turn
TIMES = ("opened_at", "notified_at", "resolved_at")
KEPT = 100  # alerts in the file, the newest
WELL = frozenset({"healthy", "stopped"})
ITS_OWN = frozenset({"failed", "restarting"})  # its process ended: whatever it waits for, that is a fault of its own


class StandingLike(Protocol):
    """What is looked at of a service."""

    @property
    def state(self) -> str: ...  # noqa: D102  # see `keeper.Standing`
    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def restarts(self) -> int: ...  # noqa: D102
    @property
    def last_restart(self) -> str: ...  # noqa: D102


@dataclass
class Alert:
    """One row of the file. Times are in seconds since 1970; `resolved_at` is None while it is open."""

    key: str
    severity: str
    title: str
    body: str
    opened_at: float
    notified_at: float
    resolved_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        """With times as people read them."""
        times = {name: _iso(getattr(self, name)) for name in TIMES}
        return {**self.__dict__, **times}


class Notifier(threading.Thread):
    """Call `look` about once a second; a thread for each channel sends, in order. Goes on with its file's open alerts."""

    def __init__(
        self,
        home: Path,
        channels: Sequence[Channel],
        *,
        repeat: timedelta = timedelta(hours=1),
        grace: float = GRACE_SECONDS,
    ) -> None:
        super().__init__(name="notifier", daemon=True)
        self.file = supervisors_file(home)
        self.channels = list(channels)
        self.repeat = repeat.total_seconds()
        self.grace = grace
        self.alerts: list[Alert] = _read(self.file)
        self._wrong_since: dict[str, float] = {}
        self._restarted: dict[str, list[float]] = {}
        self._restarts: dict[str, int] = {}
        self._queues: list[queue.SimpleQueue[Message]] = [queue.SimpleQueue() for _ in self.channels]

    def look(
        self,
        standings: Mapping[str, StandingLike],
        now: float | None = None,
        *,
        needs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Open, repeat and resolve what the services' standings say.

        `needs` are those that a service cannot work without. While one of them is away, people hear of that one alone.
        """
        now = now or time.time()
        before = [alert.__dict__.copy() for alert in self.alerts]
        away = {name for name, standing in standings.items() if standing.state not in WELL}
        behind = {
            name: sorted(away.intersection((needs or {}).get(name, ())))
            for name in away
            if standings[name].state not in ITS_OWN
        }
        for name, standing in standings.items():
            if behind.get(name):
                self._wrong_since.pop(name, None)
            else:
                self._look_at_state(name, standing, now, sorted(n for n, causes in behind.items() if name in causes))
            self._look_at_restarts(name, standing, now)
        if [alert.__dict__ for alert in self.alerts] != before:
            self._write()

    def run(self) -> None:
        """Send what is queued, each message again with growing pauses until its channel takes it."""
        for channel, waiting in zip(self.channels, self._queues, strict=True):
            threading.Thread(target=_deliver_all, args=(channel, waiting), daemon=True).start()

    def _look_at_state(self, name: str, standing: StandingLike, now: float, without_it: Sequence[str]) -> None:
        key = f"service:{name}"
        if standing.state == "waiting":  # for another service, which has its own alert
            return
        if standing.state in WELL:
            self._wrong_since.pop(name, None)
            self._resolve(key, f"{name} is well again", now)
            return
        since = self._wrong_since.setdefault(name, now)
        if standing.state == "failed" or now - since >= self.grace:
            why = standing.why or "it does not answer"
            if without_it:
                why += f" (and without it {', '.join(without_it)})"
            self._open(key, "error", f"{name} is {standing.state}", f"for {now - since:.0f} s: {why}", now)

    def _look_at_restarts(self, name: str, standing: StandingLike, now: float) -> None:
        key, times = f"restarts:{name}", self._restarted.setdefault(name, [])
        times += [now] * (standing.restarts - self._restarts.get(name, 0))
        self._restarts[name] = standing.restarts
        times[:] = [at for at in times if now - at < LOOP_SECONDS]
        if len(times) >= LOOP_RESTARTS:
            body = f"{len(times)} times in {LOOP_SECONDS / 60:.0f} minutes, the last time since {standing.last_restart}"
            self._open(key, "warning", f"{name} is restarted again and again", body, now)
        elif not times:
            self._resolve(key, "no restart lately", now)

    def _open(self, key: str, severity: str, title: str, body: str, now: float) -> None:
        present = next((a for a in self.alerts if a.key == key and a.resolved_at is None), None)
        if present is None:
            self.alerts = [*self.alerts, Alert(key, severity, title, body, now, now)][-KEPT:]
            self._send(Message(key, "opened", severity, title, body))
        elif now - present.notified_at >= self.repeat:
            present.notified_at, present.body = now, body
            self._send(Message(key, "repeated", severity, title, body))

    def _resolve(self, key: str, body: str, now: float) -> None:
        for alert in self.alerts:
            if alert.key == key and alert.resolved_at is None:
                alert.resolved_at = now
                self._send(Message(key, "resolved", alert.severity, alert.title, body))

    def _send(self, message: Message) -> None:
        for waiting in self._queues:
            waiting.put(message)

    def _write(self) -> None:
        with suppress(OSError):  # a full disk must not end the supervisor; people are notified all the same
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, json.dumps([alert.as_json() for alert in self.alerts], indent=1))


def _deliver_all(channel: Channel, waiting: "queue.SimpleQueue[Message]") -> None:
    while True:
        message, pause = waiting.get(), 1.0
        for _ in range(ATTEMPTS):
            try:
                channel.send(message)
            except Exception as error:  # noqa: BLE001  # a channel's library may raise anything; the next message still goes
                print(f"{channel.name} did not take {message.key}: {error}", flush=True)  # into the supervisor's log
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                break


def _read(file: Path) -> list[Alert]:
    """The alerts that an earlier supervisor left; none if the file is missing or cannot be read."""
    try:
        rows = json.loads(file.read_text())
        return [Alert(**{**row, **{name: _seconds(row[name]) for name in TIMES}}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _seconds(at: str | None) -> float | None:
    return None if at is None else datetime.fromisoformat(at).timestamp()


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
