"""How long captured audio of clients is kept, and how much of it. What anybody else put into that bucket is never touched."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from genre_assets import keys
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore

EVERY_SECONDS = 300.0
LONGEST_SECONDS = 30.0  # of removing in one go; a sensor's tick has sixty


@dataclass(frozen=True)
class Pruned:
    """Clips removed for their age and for the bound, and what is left; `unfinished` of those to remove."""

    by_age: int
    by_size: int
    left: int
    left_bytes: int
    unfinished: int

    @property
    def removed(self) -> int:
        """How many clips were removed."""
        return self.by_age + self.by_size

    def __str__(self) -> str:
        more = f", {self.unfinished} still to be removed" if self.unfinished else ""
        return (
            f"{self.by_age} clips removed for their age and {self.by_size} for the bound; "
            f"{self.left} are kept, {self.left_bytes / 2**20:.1f} MB{more}"
        )


def due(
    captured: Iterable[ObjectInfo], *, days: int, max_bytes: int, now: datetime
) -> tuple[Sequence[ObjectInfo], Sequence[ObjectInfo]]:
    """The clips of days that lie more than `days` back, and of the rest the oldest, as many as are above the bound."""
    oldest = f"{now - timedelta(days=days):%Y-%m-%d}"
    dated = sorted(((keys.captured_on(o.key) or "", o.last_modified, o.key, o) for o in captured), key=lambda d: d[:3])
    by_age = [entry for day, *_, entry in dated if day < oldest]
    young = [entry for day, *_, entry in dated if day >= oldest]
    by_size: list[ObjectInfo] = []
    above = sum(entry.size for entry in young) - max_bytes
    for entry in young:
        if above <= 0:
            break
        by_size.append(entry)
        above -= entry.size
    return by_age, by_size


def prune(store: ObjectStore, settings: Settings, now: datetime | None = None) -> Pruned:
    """Remove what is due, the oldest first. Raises what the store raises; what is removed by then is removed."""
    bucket = settings.clients_bucket
    captured = [entry for entry in store.list(bucket, keys.CLIENTS_AUDIO) if keys.captured_on(entry.key)]
    max_bytes = round(settings.capture_max_mb * 2**20)
    by_age, by_size = due(
        captured, days=settings.capture_retention_days, max_bytes=max_bytes, now=now or datetime.now(UTC)
    )
    removed: list[ObjectInfo] = []
    end = time.monotonic() + LONGEST_SECONDS
    for entry in (*by_age, *by_size):
        if time.monotonic() > end:
            break
        store.delete(bucket, entry.key)
        removed.append(entry)
    return Pruned(
        by_age=min(len(removed), len(by_age)),
        by_size=max(0, len(removed) - len(by_age)),
        left=len(captured) - len(removed),
        left_bytes=sum(entry.size for entry in captured) - sum(entry.size for entry in removed),
        unfinished=len(by_age) + len(by_size) - len(removed),
    )
