"""Which model should serve? The state machine of promotion, as a pure function.

    champion --(k of the last m windows drifted)--> fallback --(j windows in a row clean, minimum dwell)--> champion

Where there is no fallback, drift asks for retraining and moves nothing. A person may pin either. This module knows neither clock, database nor Triton: `promotion` keeps the books.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from genre_assets.serving.drift.detection import Level
from genre_assets.settings import Settings

Route = Literal["champion", "fallback"]


@dataclass(frozen=True)
class Rules:
    """When to move. The defaults are the settings' (`bad_windows`, `of_windows`, `clean_windows`, dwell in seconds)."""

    bad: int = 2
    of: int = 3
    clean: int = 3
    dwell: timedelta = timedelta(seconds=300)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """The rules that the settings ask for."""
        dwell = timedelta(seconds=settings.min_dwell_seconds)
        return cls(settings.bad_windows, settings.of_windows, settings.clean_windows, dwell)


@dataclass(frozen=True)
class Serving:
    """What serves now: the route, since when, and whether a person pinned it."""

    route: Route
    since: datetime
    pinned: bool = False


@dataclass(frozen=True)
class WindowLevel:
    """One window's identity and its level of feature drift, served by the current route since it serves."""

    window: str
    level: Level


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes
    ----------
    move_to
        The route to switch to; None to stay.
    reason
        One sentence for people.
    windows
        The windows that led to it, oldest first.
    retrain
        Whether retraining is asked for: the fallback sees drift as well, or there is none, so no model knows this audio.
    """

    move_to: Route | None
    reason: str
    windows: tuple[str, ...] = ()
    retrain: bool = False


def decide(
    serving: Serving, windows: Sequence[WindowLevel], rules: Rules, now: datetime, *, fallback: bool = True
) -> Decision:
    """The next move, given the windows since the last one, oldest first.

    Without a fallback (`fallback`) the champion serves on: nothing that is at hand would answer better.

    Inconclusive windows say nothing and are passed over. A suspected window is not bad, and does not break a row of
    clean ones nor lengthen it: one in twenty undrifted windows is suspected, and must not keep the fallback serving.
    """
    conclusive = [j for j in windows if j.level is not Level.INCONCLUSIVE]
    recent = conclusive[-rules.of :]
    bad = [j.window for j in recent if j.level is Level.DETECTED]
    too_bad = len(bad) >= rules.bad
    evidence = f"{len(bad)} of the last {len(recent)} windows drifted"
    if serving.route == "champion":
        if not too_bad:
            return Decision(None, f"champion serves: {evidence}")
        if not fallback:
            said = f"{evidence} and there is no fallback: the champion serves on, and retraining is asked for"
            return Decision(None, said, tuple(bad), True)
        if serving.pinned:
            return Decision(None, f"{evidence}, but the champion is pinned", tuple(bad))
        return Decision("fallback", f"{evidence}: the fallback takes over", tuple(bad))
    if too_bad:
        return Decision(
            None, f"{evidence} under the fallback too: it holds, and retraining is asked for", tuple(bad), True
        )
    streak = _clean_streak(conclusive)
    if len(streak) < rules.clean:
        return Decision(None, f"fallback serves: {len(streak)} of {rules.clean} clean windows in a row")
    if serving.pinned:
        return Decision(None, f"{len(streak)} clean windows in a row, but the fallback is pinned", tuple(streak))
    if now - serving.since < rules.dwell:
        return Decision(None, f"{len(streak)} clean windows in a row; the minimum dwell is not over", tuple(streak))
    return Decision("champion", f"{len(streak)} clean windows in a row: the champion is back", tuple(streak))


def _clean_streak(conclusive: Sequence[WindowLevel]) -> list[str]:
    """The clean windows after the last drifted one, oldest first."""
    streak: list[str] = []
    for one in reversed(conclusive):
        if one.level is Level.DETECTED:
            break
        if one.level is Level.OK:
            streak.append(one.window)
    return streak[::-1]
