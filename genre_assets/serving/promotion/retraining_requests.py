"""Requests to train again, with their reason: opened by sustained drift or low accuracy, closed by a new champion.

A request asks people (and the gate of the models stage) for new labelled data; training again on the same data would
not help, so nothing is started here. It says how many labelled clips have come. At most one request is open.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from genre_assets.database import Database
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.feedback import training_clips
from genre_assets.serving.promotion import replica_state, route_state
from genre_assets.serving.promotion.policy import Decision, Rules
from genre_assets.settings import Settings


@dataclass(frozen=True)
class Request:
    """An open request; `clips` is how many labelled clips of clients have come into the raw bucket since the last champion."""

    id: int
    opened_at: datetime
    version: int
    reason: str
    evidence: dict[str, Any]
    clips: int = 0

    def said(self, wanted: int) -> str:
        """The reason, and how the labels stand; `wanted` new clips start a retraining by themselves."""
        came = (
            f"{self.clips} labelled clips of clients have come since the last champion"
            if self.clips
            else "no labelled clip has come yet"
        )
        return f"{self.reason}; {came}, {wanted} new clips start a retraining"


def wanted(decision: Decision | None, recent: Sequence[DriftResult], rules: Rules) -> tuple[str, list[str]] | None:
    """Why to train again, with the windows that say so; None if nothing asks for it. `recent`: newest first."""
    if decision is not None and decision.retrain:
        return decision.reason, list(decision.windows)
    for name, what in ((Property.LABELLED_ACCURACY, "accuracy"), (Property.ESTIMATED_ACCURACY, "estimated accuracy")):
        found = [(j.window.id, j.findings[name]) for j in recent[: rules.of] if name in j.findings]
        low = [(window, finding.headline) for window, finding in found if finding.level is Level.DETECTED]
        if len(low) >= rules.bad:
            said = f"low {what} in {len(low)} of the last {len(recent[: rules.of])} windows"
            return f"{said}; the newest: {low[0][1]}", [window for window, _ in low]
    return None


def update(database: Database, decision: Decision | None, rules: Rules) -> Request | None:
    """Open a request if one is wanted, close the open one if a newer version serves; returns the open one."""
    recent = window_store.newest(database, rules.of)
    if recent:
        served = max(j.window.epoch.version for j in recent)
        database.execute(
            "UPDATE retraining_requests SET closed_at = now() WHERE closed_at IS NULL AND version < %s", (served,)
        )
        reason = wanted(decision, recent, rules)
        if reason is not None:
            database.execute(
                "INSERT INTO retraining_requests (version, reason, evidence) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (served, reason[0], json.dumps({"windows": reason[1]})),
            )
    return open_request(database)


def open_request(database: Database) -> Request | None:
    """The request that waits, if any."""
    rows = database.rows(
        "SELECT id, opened_at, version, reason, evidence FROM retraining_requests WHERE closed_at IS NULL"
    )
    if not rows:
        return None
    return Request(**rows[0], clips=training_clips.brought_since_the_champion(database))


def drifted_since(settings: Settings, database: Database) -> float | None:
    """Since when the fallback serves; without a fallback, since when drift asks for retraining. What is pinned is no drift."""
    serving = route_state.standing(database).serving
    if serving is None or serving.pinned:
        return None
    if serving.route == "fallback":
        return serving.since.timestamp()
    if replica_state.has_fallback(settings, database):
        return None
    request = open_request(database)
    return request.opened_at.timestamp() if request else None
