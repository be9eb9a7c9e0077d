"""When to train again without being asked. A pure decision; the sensor is its thin shell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genre_assets.database import Database
from genre_assets.settings import Settings

HOUR = 3600.0
DriftedSince = Callable[[Settings, Database], float | None]
"""Who knows of drift is given to the sensor: the serving stage, which this one does not import."""


@dataclass(frozen=True)
class Situation:
    """What is known at a tick. Times are seconds of one clock; None: never, or not now."""

    now: float
    new_clips: int
    trained_at: float | None
    """When the present training set was made."""
    drifted_since: float | None
    """Since when the fallback has served without a break; where there is none, since when drift asks for retraining."""
    running: bool
    last_request: float | None
    new_labels: Sequence[str] = ()
    """Labels of the set that have enough recordings and are not in the training set."""
    removed_labels: Sequence[str] = ()
    of_clients: int = 0
    """How many of the new clips are clients', which people labelled."""


@dataclass(frozen=True)
class Rules:
    """The settings that matter here; 0 hours switch a trigger off."""

    min_new_clips: int
    cooldown_seconds: float
    every_hours: float = 0.0
    drift_hours: float = 0.0


@dataclass(frozen=True)
class Decision:
    """Whether to request the job, and why (or why not)."""

    request: bool
    reason: str


def decide(situation: Situation, rules: Rules) -> Decision:
    """One retraining at a time, none within the cool-down, and only for a reason.

    Ten genres that change within minutes are one retraining: the first request starts the cool-down, and the clips
    that come meanwhile are counted for the next.
    """
    if situation.trained_at is None:
        return Decision(False, "nothing has been built yet: the build job makes the first models")
    reason = _trigger(situation, rules, situation.trained_at)
    if reason is None:
        of_clients = _of_clients(situation)
        return Decision(
            False, f"{situation.new_clips} new clips{of_clients} of {rules.min_new_clips} that are worth a retraining"
        )
    if situation.running:
        return Decision(False, f"{reason}, but a training is running or queued")
    since = None if situation.last_request is None else situation.now - situation.last_request
    if since is not None and since < rules.cooldown_seconds:
        return Decision(False, f"{reason}; the cool-down lasts another {rules.cooldown_seconds - since:.0f} s")
    return Decision(True, reason)


def _trigger(situation: Situation, rules: Rules, trained_at: float) -> str | None:
    """Why a retraining is due, if it is."""
    since = situation.drifted_since
    if rules.drift_hours and since is not None and trained_at < since:
        hours = (situation.now - since) / HOUR
        if hours >= rules.drift_hours:
            return f"sustained drift, for {hours:.1f} h, and nothing was trained since"
    moved = [*(f"{name} is new" for name in situation.new_labels), *(f"{n} is gone" for n in situation.removed_labels)]
    if moved:
        return f"the label set changed: {', '.join(moved)}"
    if situation.new_clips >= rules.min_new_clips:
        return f"{situation.new_clips} labelled clips{_of_clients(situation)} are new since the last training set"
    age = (situation.now - trained_at) / HOUR
    if rules.every_hours and age >= rules.every_hours:
        return f"on schedule: the training set is {age:.1f} h old"
    return None


def _of_clients(situation: Situation) -> str:
    return f" ({situation.of_clients} of them of clients)" if situation.of_clients else ""
