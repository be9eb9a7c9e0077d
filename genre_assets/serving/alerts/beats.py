"""The table `automation_beats`: when each sensor ticked last, written by the sensor that notifies people.

Who watches the platform from outside reads it: a beat that grows old says that automation stands still, and that nobody is
notified by the platform any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from genre_assets.database import Database

NOTIFIER = "alert_on_platform"  # the sensor that writes the beats and sends the messages


@dataclass(frozen=True)
class Ticks:
    """A sensor's newest tick, how many of its newest ones (up to three) failed in a row, and whether it is on."""

    at: datetime
    failed_in_a_row: int
    on: bool = True


@dataclass(frozen=True)
class Beat:
    """One row of the table. `channels` is the notifier's own: to how many channels it sends."""

    sensor: str
    ticked_at: datetime
    failed_in_a_row: int
    channels: int | None


def keep(database: Database, ticks: Mapping[str, Ticks], *, now: datetime, channels: int) -> None:
    """Write the beats of every sensor that has ticked, and the notifier's own, which is this one's: now.

    The row of a sensor that is no more, or was stopped on purpose, goes: its age says nothing.
    """
    ticks = {name: tick for name, tick in ticks.items() if tick.on}
    own = Ticks(now, ticks[NOTIFIER].failed_in_a_row if NOTIFIER in ticks else 0)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM automation_beats WHERE NOT sensor = ANY(%s)", ([*ticks, NOTIFIER],))
        for name, tick in {**ticks, NOTIFIER: own}.items():
            cursor.execute(
                """INSERT INTO automation_beats (sensor, ticked_at, failed_in_a_row, channels) VALUES (%s, %s, %s, %s)
                ON CONFLICT (sensor) DO UPDATE SET ticked_at = excluded.ticked_at,
                failed_in_a_row = excluded.failed_in_a_row, channels = excluded.channels""",
                (name, tick.at, tick.failed_in_a_row, channels if name == NOTIFIER else None),
            )


def read(database: Database) -> list[Beat]:
    """Every sensor's, by name."""
    return [Beat(**row) for row in database.rows("SELECT * FROM automation_beats ORDER BY sensor")]
