"""Deciding what the sensor on the raw bucket asks for: pure, over digests of listings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from genre_assets.audio.tables.listing import changed

RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers: the listing it last dealt with, and when it last asked for a run that is still due.

    With S3's events also: when the whole bucket was last listed, the genres that events named since and that were not
    looked at, and the receipts of those events, which are forgotten once this is kept.
    """

    seen: Mapping[str, str] = field(default_factory=dict)
    asked_at: float | None = None
    listed_at: float | None = None
    named: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()

    def dump(self) -> str:
        """As text, for Dagster to keep."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def load(cls, text: str | None) -> "Cursor":
        """From text; anything unreadable is a fresh start, which asks for nothing that the tables already hold."""
        try:
            stored = json.loads(text or "{}")
            names, receipts = (tuple(map(str, stored.get(name, ()))) for name in ("named", "receipts"))
            seen: dict[str, str] = dict(stored.get("seen", {}))
            return cls(seen, stored.get("asked_at"), stored.get("listed_at"), names, receipts)
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Decision:
    """`ask` for a run of `genres`, `skip` with a reason; the cursor to keep either way."""

    action: Literal["ask", "skip"]
    cursor: Cursor
    genres: tuple[str, ...] = ()
    reason: str = ""


def needs_a_look(now: Mapping[str, str], cursor: Cursor) -> bool:
    """Whether the tables must be compared with the listing: it changed, or what was asked for may still be due."""
    return cursor.asked_at is not None or bool(changed(now, cursor.seen))


def decide(now: Mapping[str, str], held: Mapping[str, str], cursor: Cursor, *, clock: float) -> Decision:
    """Compare the listing (`now`) with what the tables hold (`held`), when no run is reading the bucket.

    A change that was asked for and did not arrive (the run failed) is asked for again, but not at every tick.
    """
    genres = tuple(changed(now, held))
    if not genres:
        return Decision(
            "skip",
            replace(cursor, seen=dict(now), asked_at=None),
            reason="the tables hold all that is in the raw bucket",
        )
    if cursor.asked_at is not None and not changed(now, cursor.seen):
        wait = cursor.asked_at + RETRY_SECONDS - clock
        if wait > 0:
            reason = f"the last run did not bring {', '.join(genres)}; it is tried again in {wait:.0f} s"
            return Decision("skip", cursor, reason=reason)
    return Decision("ask", replace(cursor, seen=dict(now), asked_at=clock), genres)
