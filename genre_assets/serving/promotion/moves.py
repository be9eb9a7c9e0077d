"""What a move of the route is: wished for by somebody, open, or made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from genre_assets.serving.promotion.policy import Route, Serving

DRIFT = "drift"
MACHINES = frozenset({DRIFT, "build", "reconciliation"})  # every other actor is a person


@dataclass(frozen=True)
class Wish:
    """What a run of `live_ensemble` is asked for: a route ("keep" for the one that serves), by whom and why."""

    route: Route | Literal["keep"]
    actor: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    pinned: bool = False

    @property
    def by_person(self) -> bool:
        """Whether a person has this wish: whoever is no part of the platform."""
        return self.actor not in MACHINES


@dataclass(frozen=True)
class OpenMove:
    """A move that is decided and not yet made."""

    id: int
    route: Route
    reason: str
    actor: str
    evidence: dict[str, Any]
    decided_at: datetime

    @property
    def pinned(self) -> bool:
        """Whether the route is to be held once it serves."""
        return bool(self.evidence.get("pinned"))

    def is_for(self, wish: Wish) -> bool:
        """Whether this is the move that the wish would open: a person's wish overtakes the drift's for the same route."""
        same = (self.route, self.pinned) == (wish.route, wish.pinned)
        return same and (self.actor == wish.actor or not wish.by_person)


@dataclass(frozen=True)
class Standing:
    """What serves, when that was decided, and the move that is due, if any. All None before the first release."""

    serving: Serving | None
    due: OpenMove | None
    decided_at: datetime | None = None

    @property
    def wanted(self) -> Route:
        """The route of the move that is due, else of what serves, else the champion."""
        if self.due:
            return self.due.route
        return self.serving.route if self.serving else "champion"
