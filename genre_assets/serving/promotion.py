"""The books of the state machine: what serves, which move is decided, who made it; in the table `route_state`.

A move has two steps, decided and switched. `advance` decides (at most one move is open at a time), the asset
`live_ensemble` switches Triton and then calls `confirm`, which closes the move and writes the audit row in one
transaction. Each step may be repeated, interrupted or run twice at once: the move still happens exactly once.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.serving import window_store
from genre_assets.serving.drift.verdict import Level
from genre_assets.serving.state import Decision, Judged, Route, Rules, Serving, decide
from genre_assets.steps import Step, reached

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

ACTOR = "drift"
LOCK = 20261126
DDL = """
CREATE TABLE IF NOT EXISTS route_state (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route text NOT NULL,
    moved_from text,                  -- null for the first release
    decided_at timestamptz NOT NULL DEFAULT now(),
    switched_at timestamptz,          -- null while the move is open
    dropped_at timestamptz,           -- overtaken by another move before it happened
    pinned boolean NOT NULL DEFAULT false,
    actor text NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX IF NOT EXISTS route_state_one_open ON route_state ((true))
    WHERE switched_at IS NULL AND dropped_at IS NULL;
"""
_OPEN = "switched_at IS NULL AND dropped_at IS NULL"


@dataclass(frozen=True)
class OpenMove:
    """A move that is decided and not yet made."""

    id: int
    route: Route
    reason: str
    actor: str
    evidence: dict[str, Any]
    decided_at: datetime


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


def standing(database: Database) -> Standing:
    """What serves now, by the books."""
    database.ensure(DDL)
    with database.transaction() as cursor:
        return _standing(cursor)


def current_route(database: Database) -> Route:
    """The route that a new release must keep serving: the champion, unless the books say otherwise."""
    serving = standing(database).serving
    return serving.route if serving else "champion"


def advance(database: Database, rules: Rules, now: datetime | None = None) -> tuple[Standing, Decision | None]:
    """Decide from the windows judged since the last move; an open move is left as it is.

    Returns the standing after the decision, and the decision (None before the first release or with a move open).
    """
    database.ensure(DDL)
    database.ensure(window_store.DDL)
    with _locked(database) as cursor:
        before = _standing(cursor)
        if before.serving is None or before.decided_at is None or before.due is not None:
            return before, None
        decision = decide(
            before.serving, _judged(cursor, before.serving, before.decided_at), rules, now or datetime.now(UTC)
        )
        if decision.move_to is not None:
            _insert(cursor, before.serving, decision.move_to, ACTOR, decision.reason, {"windows": decision.windows})
        return _standing(cursor), decision


@dataclass(frozen=True)
class Wish:
    """What a run of `live_ensemble` is asked for: a route ("keep" for the one that serves), by whom and why."""

    route: Route | Literal["keep"]
    actor: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    pinned: bool = False


def route_for(database: Database, wish: Wish) -> Route:
    """The route that is to serve now. A move of the drift's that was dropped meanwhile (a person has pinned) is none."""
    now = standing(database)
    dropped = wish.actor == ACTOR and (now.due is None or now.due.route != wish.route)
    if wish.route == "keep" or dropped:
        return now.serving.route if now.serving else "champion"
    return wish.route


def request(database: Database, wish: Wish) -> int | None:
    """Open the wished move before Triton is touched: if the run is killed, it is asked for again.

    An open move to the same route stands as it is; one to another route is overtaken. Nothing is requested before the
    first release, nor for the route that serves, nor by the drift, whose moves `advance` opens. Returns the id of a
    move that this call opened.
    """
    if wish.route == "keep" or wish.actor == ACTOR:
        return None
    database.ensure(DDL)
    with _locked(database) as cursor:
        before = _standing(cursor)
        if before.serving is None or before.serving.route == wish.route:
            return None
        if before.due is not None and before.due.route == wish.route:
            return None
        cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
        evidence = {**wish.evidence, "pinned": True} if wish.pinned else dict(wish.evidence)
        move = _insert(cursor, before.serving, wish.route, wish.actor, wish.reason, evidence)
    reached(Step.PROMOTE_REQUEST)
    return move


def book(database: Database, wish: Wish, route: Route, facts: Mapping[str, Any]) -> bool:
    """Triton serves `route`: book it, as `confirm` does. A wish to keep the route is no move, but for the first release."""
    if wish.route == "keep" and standing(database).serving is not None:
        return False
    evidence = {**wish.evidence, **facts}
    return confirm(
        database,
        route,
        actor=wish.actor,
        reason=wish.reason,
        evidence=evidence,
        pinned=wish.pinned,
        only_due=wish.actor == ACTOR,
    )


def withdraw(database: Database, move: int | None) -> None:
    """Drop a requested move that could not be made; one that was booked or overtaken meanwhile is left alone."""
    if move is not None:
        database.execute(f"UPDATE route_state SET dropped_at = now() WHERE id = %s AND {_OPEN}", (move,))  # noqa: S608


def confirm(
    database: Database,
    route: Route,
    *,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    pinned: bool = False,
    only_due: bool = False,
) -> bool:
    """Triton serves `route` now: close the open move, or book the move that somebody made by hand.

    The audit row is written in the same transaction, and only if the route really changed. The first release of all
    is no move. With `only_due` nothing is booked but the move that is due. Returns whether a move was booked.
    """
    database.ensure(DDL)
    database.ensure(audit.DDL)
    with _locked(database) as cursor:
        before = _standing(cursor)
        moved_from = before.serving.route if before.serving else None
        if moved_from == route:
            if pinned:
                cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
                _pin(cursor, True)
            return False
        if before.due is not None and before.due.route == route:
            actor, reason = before.due.actor, before.due.reason
            evidence = {**(evidence or {}), **before.due.evidence}
            cursor.execute(
                f"UPDATE route_state SET switched_at = now(), pinned = %s WHERE id = %s AND {_OPEN}",  # noqa: S608
                (pinned, before.due.id),
            )
        elif only_due:
            return False  # its move was dropped while it was made: the books stand, and Triton is brought back to them
        else:
            cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
            number = _insert(cursor, before.serving, route, actor, reason, dict(evidence or {}))
            cursor.execute("UPDATE route_state SET switched_at = now(), pinned = %s WHERE id = %s", (pinned, number))
        if moved_from is None:
            return False
        audit.record(
            database, "route", moved_from=moved_from, moved_to=route, actor=actor, reason=reason,
            evidence=dict(evidence or {}), cursor=cursor,
        )  # fmt: skip
        reached(Step.PROMOTE_BOOK)
    reached(Step.PROMOTE_COMMIT)
    return True


def pin(database: Database, pinned: bool) -> None:
    """Hold what serves now, whatever the windows say; or let the state machine decide again. Drops an open move."""
    database.ensure(DDL)
    with _locked(database) as cursor:
        if pinned:
            cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
        _pin(cursor, pinned)


@contextmanager
def _locked(database: Database) -> Iterator["cursor"]:
    """A transaction over the books, one at a time."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        yield cursor


def _standing(cursor: "cursor") -> Standing:
    cursor.execute("SELECT * FROM route_state WHERE switched_at IS NOT NULL ORDER BY id DESC LIMIT 1")
    last: Any = cursor.fetchone()
    cursor.execute(f"SELECT * FROM route_state WHERE {_OPEN}")  # noqa: S608
    due: Any = cursor.fetchone()
    return Standing(
        serving=Serving(last["route"], last["switched_at"], last["pinned"]) if last else None,
        due=OpenMove(due["id"], due["route"], due["reason"], due["actor"], due["evidence"], due["decided_at"])
        if due
        else None,
        decided_at=last["decided_at"] if last else None,
    )


def _judged(cursor: "cursor", serving: Serving, decided_at: datetime) -> list[Judged]:
    """Verdicts on the windows of the route that serves, of its newest version, since its move was decided; oldest first.

    A window may open between Triton's switch and its booking, so its end is compared with the decision.
    """
    cursor.execute(
        """WITH mine AS (SELECT * FROM drift_windows WHERE judged_at IS NOT NULL AND route = %s AND closed_at >= %s)
        SELECT id, level FROM mine WHERE version = (SELECT version FROM mine ORDER BY closed_at DESC LIMIT 1)
        ORDER BY closed_at, last_id""",
        (serving.route, decided_at),
    )
    found: Any = cursor.fetchall()
    return [Judged(row["id"], Level(row["level"])) for row in found]


def _insert(
    cursor: "cursor", serving: Serving | None, route: Route, actor: str, reason: str, evidence: dict[str, Any]
) -> int:
    cursor.execute(
        "INSERT INTO route_state (route, moved_from, actor, reason, evidence) VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (route, serving.route if serving else None, actor, reason, json.dumps(evidence)),
    )
    row: Any = cursor.fetchone()
    return int(row["id"])


def _pin(cursor: "cursor", pinned: bool) -> None:
    cursor.execute(
        """UPDATE route_state SET pinned = %s WHERE id =
        (SELECT id FROM route_state WHERE switched_at IS NOT NULL ORDER BY id DESC LIMIT 1)""",
        (pinned,),
    )
