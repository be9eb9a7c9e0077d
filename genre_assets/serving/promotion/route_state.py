"""The books of the state machine: what serves, which move is decided, who made it; in the table `route_state`.

A move has two steps, decided and switched. `advance` decides (at most one move is open at a time), the asset
`live_ensemble` switches Triton and then calls `confirm`, which closes the move and writes the audit row in one
transaction. Each step may be repeated, interrupted or run twice at once: the move still happens exactly once.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.promotion.moves import DRIFT, MACHINES, OpenMove, Standing, Wish
from genre_assets.serving.promotion.policy import Decision, Route, Rules, Serving, WindowLevel, decide
from genre_assets.steps import Step, reached

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

LOCK = 20261126
_OPEN = "switched_at IS NULL AND dropped_at IS NULL"
_SERVES = "(SELECT id FROM route_state WHERE switched_at IS NOT NULL ORDER BY id DESC LIMIT 1)"


def standing(database: Database) -> Standing:
    """What serves now, by the books."""
    with database.transaction() as cursor:
        return _standing(cursor)


def current_route(database: Database) -> Route:
    """The route that a new release must keep serving: the champion, unless the books say otherwise."""
    serving = standing(database).serving
    return serving.route if serving else "champion"


def advance(
    database: Database, rules: Rules, now: datetime | None = None, *, fallback: bool = True
) -> tuple[Standing, Decision | None]:
    """Decide from the windows evaluated since the last move; an open move is left as it is.

    `fallback` says whether the release that serves has one: without one nothing is moved, and retraining is asked for.
    Returns the standing after the decision, and the decision (None before the first release or with a move open).
    """
    with _locked(database) as cursor:
        before = _standing(cursor)
        if before.serving is None or before.decided_at is None or before.due is not None:
            return before, None
        levels = _levels(cursor, before.serving, before.decided_at)
        decision = decide(before.serving, levels, rules, now or datetime.now(UTC), fallback=fallback)
        if decision.move_to is not None:
            _insert(cursor, before.serving, decision.move_to, DRIFT, decision.reason, {"windows": decision.windows})
        return _standing(cursor), decision


def route_for(database: Database, wish: Wish) -> Route:
    """The route that is to serve now. A move of the drift's that was dropped meanwhile (a person has pinned) is none."""
    now = standing(database)
    dropped = wish.actor == DRIFT and (now.due is None or now.due.route != wish.route)
    if wish.route == "keep" or dropped:
        return now.serving.route if now.serving else "champion"
    return wish.route


def request(database: Database, wish: Wish) -> int | None:
    """Open the wished move before Triton is touched: if the run is killed, it is asked for again.

    Any other open move is overtaken; a person who wishes for the route that serves forbids it. Nothing is requested
    before the first release, for the route that serves, nor by the drift, whose moves `advance` opens. Returns the id
    of a move that this call opened.
    """
    if wish.route == "keep" or wish.actor == DRIFT:
        return None
    with _locked(database) as cursor:
        before = _standing(cursor)
        if before.serving is None:
            return None
        if before.serving.route == wish.route:
            if wish.by_person:
                _forbid(cursor, before)
            return None
        if before.due is not None and before.due.is_for(wish):
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
        only_due=wish.actor == DRIFT,
    )


def withdraw(database: Database, move: int | None) -> None:
    """Drop a requested move that could not be made; one that was booked or overtaken meanwhile is left alone."""
    if move is not None:
        database.execute(f"UPDATE route_state SET dropped_at = now() WHERE id = %s AND {_OPEN}", (move,))  # noqa: S608


def drop(database: Database, route: str) -> None:
    """Drop an open move to a route that cannot serve."""
    database.execute(f"UPDATE route_state SET dropped_at = now() WHERE route = %s AND {_OPEN}", (route,))  # noqa: S608


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
    is no move. With `only_due` nothing is booked but the move that is due. What a person says of the route that serves
    already ends a pin, or sets one, and forbids a move that is open. Returns whether a move was booked.
    """
    with _locked(database) as cursor:
        before = _standing(cursor)
        moved_from = before.serving.route if before.serving else None
        if moved_from == route:
            if pinned or actor not in MACHINES:
                _forbid(cursor, before)
                _pin(cursor, pinned)
            return False
        if before.due is not None and before.due.route == route:
            actor, reason = before.due.actor, before.due.reason
            evidence = {**(evidence or {}), **before.due.evidence}
            pinned = pinned or before.due.pinned
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
    with _locked(database) as cursor:
        if pinned:
            cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
        _pin(cursor, pinned)


def _forbid(cursor: "cursor", before: Standing) -> None:
    """Drop the open move, if any. What led to it counts no more, or the drift would open it again at once."""
    if before.due is not None:
        cursor.execute(f"UPDATE route_state SET dropped_at = now() WHERE {_OPEN}")  # noqa: S608
        cursor.execute(f"UPDATE route_state SET decided_at = now() WHERE id = {_SERVES}")  # noqa: S608


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


def _levels(cursor: "cursor", serving: Serving, decided_at: datetime) -> list[WindowLevel]:
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
    return [WindowLevel(row["id"], Level(row["level"])) for row in found]


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
        f"UPDATE route_state SET pinned = %s WHERE id = {_SERVES}",  # noqa: S608
        (pinned,),
    )
