"""Asking for a run exactly as often as needed: once, and again with growing pauses while it fails. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True)
class Attempt:
    """A run made for the purpose, and how it stands; `ended_at` is None while it has not."""

    outcome: Literal["running", "failed", "succeeded"]
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Ask:
    """Ask for a run under this key, or (key None) do not, and why."""

    key: str | None
    why: str = ""


def next_run(purpose: str, attempts: Sequence[Attempt], now: datetime) -> Ask:
    """The key of the run to ask for now.

    The key counts the runs there were, so that two daemons asking at once ask for the same run, and a run that ended
    without doing its work (for whatever reason: the purpose is still there) is followed by another.
    """
    if any(a.outcome == "running" for a in attempts):
        return Ask(None, f"a run for {purpose} is on its way")
    ended = max((a.ended_at for a in attempts if a.ended_at), default=None)
    pause = min(FIRST_PAUSE * 2 ** max(len(attempts) - 1, 0), LONGEST_PAUSE)
    if ended is not None and now - ended < pause:
        return Ask(None, f"{len(attempts)} runs for {purpose} were not enough; the next one follows after a pause")
    return Ask(f"{purpose}-{len(attempts)}")
