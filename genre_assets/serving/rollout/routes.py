"""A release may have no fallback. What becomes then of a wish for it, of an open move to it, and of books that say it serves.

A person who asks for a route that is not there is refused. Whatever the platform asks by itself, the champion serves
instead, and the books follow: a release that could not go live because the books name a fallback would be worse.
"""

from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.models.selection.fallback import CHECK
from genre_assets.packaging.release import Release
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import DRIFT, Wish
from genre_assets.serving.promotion.policy import Route
from genre_assets.serving.rollout.live import Live
from genre_assets.triton.protocol import ROUTES


def choose(database: Database, wish: Wish, release: Release) -> Route:
    """The route that is to serve, of those that the release has; an open move to one that it has not is dropped.

    Raises `BadInput` if a person asks for a route that the release has not.
    """
    for missing in set(ROUTES) - set(release.roles):
        route_state.drop(database, missing)
    route = route_state.route_for(database, wish)
    if route in release.roles:
        return route
    if wish.route == route and wish.by_person:
        raise BadInput(f"{_why(release, route)}; the champion serves on")
    return "champion"


def book(database: Database, wish: Wish, live: Live) -> bool:
    """Book what serves now; returns whether the route moved. See `route_state.book`."""
    facts = {"release": live.release.id, "version": live.version}
    booked = route_state.standing(database).serving
    if booked is None or booked.route in live.release.roles or wish.route == live.route:
        return route_state.book(database, wish, live.route, facts)
    actor = "build" if wish.actor == DRIFT else wish.actor  # no window led to this move
    reason = _why(live.release, booked.route)
    return route_state.confirm(database, live.route, actor=actor, reason=reason, evidence={**wish.evidence, **facts})


def _why(release: Release, route: str) -> str:
    return (
        f"release {release.id} has no {route}: no model may stand in for the champion (the check {CHECK} of champion_models "
        "says why)"
    )
