"""A release goes live on all replicas, or on none: what is wanted is written down, and the agents' reports are waited for.

Any step may be repeated. Who is killed while it waits leaves a wish that is not applied; the next promotion, or the
reconciliation, takes it up or replaces it. A replica that refuses, or is late, has all go back to what they served before. One
that did not report for `GENRE_REPLICA_LOST_SECONDS` is left out, and said so: it may not answer until it has caught up.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

from genre_assets import keys
from genre_assets.checks import CheckFinding
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError, PermanentFailure, TransientFailure
from genre_assets.packaging.release import Release
from genre_assets.serving.promotion import replica_state
from genre_assets.serving.promotion.policy import Route
from genre_assets.serving.promotion.replica_state import Report, Wish
from genre_assets.serving.rollout.live import Live, newest
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

LOOK_SECONDS = 0.1
# A replica stops to answer when it was cut off for the stated time; those who wait for it give it a little more, so that it
# has surely stopped when they go on without it.
MARGIN_SECONDS = 3.0


def go_live(
    settings: Settings, store: ObjectStore, database: Database, choose: Callable[[Release], Route]
) -> tuple[Live, list[Report]]:
    """Let all replicas serve the newest release on the route that `choose` names; returns it, and the replicas left out.

    Raises
    ------
    BadInput
        If there is no release, or it has no version for the route.
    PermanentFailure
        If a replica cannot serve it; all serve on what they served before.
    TransientFailure
        If replicas are late, or none reports, or another promotion came meanwhile; the message names them.
    """
    started = time.monotonic()
    release = newest(settings, store)
    _hear_from_all(settings, database)
    route = choose(release)
    if route not in release.roles:
        raise BadInput(f"release {release.id} has no {route}; it has: {', '.join(release.roles)}")
    before = replica_state.applied(database)
    wish = replica_state.want(database, release.id, route, has_fallback="fallback" in release.roles)
    try:
        tell(settings, store, wish)
        left_out = _wait(settings, database, wish)
    except GenreError as error:
        replica_state.withdraw(database, wish, str(error))
        if now := replica_state.wanted(database):
            with suppress(GenreError):  # a store that is away may be why
                tell(settings, store, now)
        raise type(error)(f"{error}. {_serves_on(before)}") from error
    published = before is None or before.release != release.id
    route_before = before.route if before else None
    live = Live(release, route, release.roles[route], route_before, published, seconds=time.monotonic() - started)
    return live, left_out


def tell(settings: Settings, store: ObjectStore, wish: Wish) -> None:
    """Write the wish into the serving bucket too, for replicas that the database does not reach."""
    store.write_json(settings.serving_bucket, keys.WANTED_RELEASE, asdict(wish))


def difference(settings: Settings, database: Database, books: str | None) -> str | None:
    """What is wanted of the replicas and is not what is booked, in words; None if it is, or somebody is at work.

    A replica that is behind is not looked at: it catches up by itself.
    """
    wish = replica_state.wanted(database)
    if wish is None:
        return None
    if not wish.applied:
        if wish.age < settings.replica_timeout_seconds + MARGIN_SECONDS:
            return None
        return f"the {wish.route} of release {wish.release} was wanted of all replicas, and whoever waited for it has ended"
    if books is None:
        return f"all replicas serve the {wish.route}, and nothing is booked"
    return None if books == wish.route else f"the {books} serves by the books, but all replicas serve the {wish.route}"


def inspect(settings: Settings, store: ObjectStore, database: Database) -> CheckFinding:
    """Whether every replica that reports serves the newest release; changes nothing."""
    release, wish = newest(settings, store), replica_state.wanted(database)
    there, left_out = standing(settings, database)
    facts = {"release": release.id, "route": wish.route if wish else "none", "replicas": len(there), **_said(left_out)}
    if wish is None or wish.release != release.id:
        return CheckFinding(
            False, f"release {release.id} is not what the replicas are to serve: materialise live_ensemble", facts
        )
    if not there:
        return CheckFinding(False, "no replica reports: are the agents up?", facts)
    behind = [one for one in there if not one.serves(wish)]
    if behind:
        return CheckFinding(False, f"behind or not well: {names(behind)}", facts)
    return CheckFinding(True, f"{len(there)} replicas serve the {wish.route} of release {release.id}", facts)


def standing(settings: Settings, database: Database) -> tuple[list[Report], list[Report]]:
    """The replicas that report, and those that did not for too long."""
    limit = settings.replica_lost_seconds + MARGIN_SECONDS
    found = replica_state.reports(database)
    return [one for one in found if one.age <= limit], [one for one in found if one.age > limit]


def _hear_from_all(settings: Settings, database: Database) -> None:
    """Wait until each replica has said something from now on, or is lost.

    One that is cut off answers by what it was told last until it is lost: the others go elsewhere only when it has stopped, so
    that clients do not meet two routes for so long.
    """
    asked = time.monotonic()
    replica_state.ask_for_reports(database)
    while (passed := time.monotonic() - asked) < settings.replica_timeout_seconds:
        there, _ = standing(settings, database)
        if all(one.age < passed for one in there):
            return
        time.sleep(LOOK_SECONDS)


def _wait(settings: Settings, database: Database, wish: Wish) -> list[Report]:
    end = time.monotonic() + settings.replica_timeout_seconds
    while True:
        there, left_out = standing(settings, database)
        now = replica_state.wanted(database)
        if now is None or now.generation != wish.generation:
            raise TransientFailure(
                f"another promotion came meanwhile (the {now.route if now else 'none'} is wanted now)"
            )
        if refusing := [one for one in there if one.refused == wish.generation]:
            raise PermanentFailure(f"release {wish.release} is not live: {names(refusing)}")
        late = [one for one in there if not one.serves(wish)]
        if there and not late:
            if replica_state.apply(database, wish):
                return left_out
            continue  # another wish came this moment: said at the next look
        if time.monotonic() > end:
            who = names(late) if late else "no replica reports: are the agents up?"
            raise TransientFailure(f"not applied in {settings.replica_timeout_seconds:.0f} s: {who}")
        time.sleep(LOOK_SECONDS)


def _serves_on(before: Wish | None) -> str:
    if before is None:
        return "Nothing served before, and nothing serves now"
    return f"Release {before.release} serves on, by the {before.route}"


def names(replicas: Sequence[Report]) -> str:
    """Replicas with what each said last, for people."""
    return "; ".join(
        f"replica {one.replica} ({one.why or 'is on its way'}; heard {one.age:.0f} s ago)" for one in replicas
    )


def _said(left_out: Sequence[Report]) -> dict[str, str]:
    return {"left out": names(left_out)} if left_out else {}
