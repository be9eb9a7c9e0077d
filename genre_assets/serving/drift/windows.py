"""Cutting the log of answered items into windows: counted in distinct items, never overlapping, never mixing models.

Pure: rows in, windows out. `window_store` reads the rows and keeps the windows.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from genre_assets.settings import Settings

STRAGGLERS = timedelta(seconds=10)  # answers of the model before may come in for this long after a switch


class ClosedBy(StrEnum):
    """Why a window ended: it was full, its time was up, it was too old for so few items, or another model began to answer."""

    FULL = "full"
    TIME = "time"
    AGE = "age"
    SWITCH = "switch"


@dataclass(frozen=True)
class Rules:
    """How windows are cut.

    `size` and `minimum` are in distinct items. A window ends after the time `longest` if it has the minimum, which is
    what a verdict takes; with less it goes on, and ends when it has the minimum or is older than `oldest`.
    """

    size: int = 128
    minimum: int = 48
    longest: timedelta = timedelta(hours=1)
    oldest: timedelta = timedelta(days=1)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """The rules that the settings ask for."""
        longest, oldest = settings.window_max_seconds, settings.window_oldest_seconds
        return cls(settings.window_size, settings.window_minimum, timedelta(seconds=longest), timedelta(seconds=oldest))

    def end(self, items: int, age: timedelta) -> ClosedBy | None:
        """Why a window of so many distinct items ends at this age; None if it goes on."""
        if items >= self.size:
            return ClosedBy.FULL
        if items >= self.minimum and age > self.longest:
            return ClosedBy.TIME
        return ClosedBy.AGE if age > self.oldest else None


@dataclass(frozen=True)
class Epoch:
    """What answered: windows never hold two of them."""

    route: Literal["champion", "fallback"]
    version: int
    feature_set_version: str


@dataclass(frozen=True)
class LogRow:
    """What cutting needs of a row of the log.

    `sound` says that the item was answered and all its features are finite; other rows are evidence of the data's
    quality, never of drift.
    """

    id: str
    ts: datetime
    fingerprint: str | None
    epoch: Epoch
    sound: bool


@dataclass(frozen=True)
class Window:
    """A stretch of the log from its first to its last row, in the order (ts, id).

    `rows` counts every row in it, `items` the distinct sound items of its epoch.
    """

    id: str
    epoch: Epoch
    opened_at: datetime
    first_id: str
    closed_at: datetime
    last_id: str
    rows: int
    items: int
    closed_by: ClosedBy


@dataclass
class _Open:
    """A window that still takes rows."""

    first: LogRow
    before: Epoch | None
    last: LogRow = field(init=False)
    rows: int = 0
    items: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.last = self.first

    def takes(self, row: LogRow) -> bool:
        """Whether the row belongs here: same model, or a late answer of the one before."""
        late = row.epoch == self.before and row.ts - self.first.ts <= STRAGGLERS
        return row.epoch == self.first.epoch or late

    def add(self, row: LogRow) -> None:
        self.last = row
        self.rows += 1
        if row.sound and row.fingerprint and row.epoch == self.first.epoch:
            self.items.add(row.fingerprint)

    def end(self, rules: Rules, now: datetime) -> ClosedBy | None:
        return rules.end(len(self.items), now - self.first.ts)

    def close(self, closed_by: ClosedBy) -> Window:
        identity = hashlib.sha256(f"{self.first.id} {self.first.ts.timestamp()}".encode()).hexdigest()[:8]
        return Window(
            id=f"{self.first.ts:%Y%m%dT%H%M%S}-{identity}",
            epoch=self.first.epoch,
            opened_at=self.first.ts,
            first_id=self.first.id,
            closed_at=self.last.ts,
            last_id=self.last.id,
            rows=self.rows,
            items=len(self.items),
            closed_by=closed_by,
        )


def cut(rows: Iterable[LogRow], rules: Rules, now: datetime, before: Epoch | None = None) -> Iterator[Window]:
    """The windows that are complete, oldest first; rows after the last of them wait for more.

    Parameters
    ----------
    rows
        The log after the last window, in the order (ts, id).
    rules
        Size and time limit.
    now
        Ends a window whose time is up though no row came after it.
    before
        Epoch of the last window, whose late answers are no new window.
    """
    window: _Open | None = None
    for row in rows:
        if window and not window.takes(row):
            yield window.close(ClosedBy.SWITCH)
            before, window = window.first.epoch, None
        elif window and (end := window.end(rules, row.ts)):
            yield window.close(end)
            before, window = window.first.epoch, None
        window = window or _Open(row, before)
        window.add(row)
        if end := window.end(rules, row.ts):
            yield window.close(end)
            before, window = window.first.epoch, None
    if window and (end := window.end(rules, now)):
        yield window.close(end)
