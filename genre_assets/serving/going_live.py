"""Carry out what is wished of the live ensemble: by a run of `live_ensemble`, or in a tick of the sensor `promotion_due`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from genre_assets.checks import CheckFinding
from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.packaging.adoption import adopt
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.agent import fleet
from genre_assets.serving.promotion import replica_state, route_state
from genre_assets.serving.promotion.moves import Wish
from genre_assets.serving.promotion.replica_state import Report
from genre_assets.serving.rollout import live, routes
from genre_assets.serving.rollout.live import Live, go_live, newest
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl


@dataclass(frozen=True)
class Done:
    """What serves now, and what it took."""

    live: Live
    moved: bool
    left_out: Sequence[Report]
    adopted: Sequence[str]  # releases that were signed now

    @property
    def data_version(self) -> str:
        """Equal for what is equal: the release and its route."""
        return f"{self.live.release.id}-{self.live.route}"


def carry_out(wish: Wish, settings: Settings, store: ObjectStore, database: Database, triton: TritonControl) -> Done:
    """Let the newest release serve on the wished route, and book it. May be repeated, interrupted, and done by several at once.

    Raises what `rollout.live.go_live` and `agent.fleet.go_live` raise; what served before serves on, and a move that this
    call opened is dropped.
    """
    adopted = adopt(settings, store, database)
    requested = route_state.request(database, wish)
    choose, left_out = partial(routes.choose, database, wish), list[Report]()
    try:
        if settings.serving_agents:
            now, left_out = fleet.go_live(settings, store, database, choose)
        else:
            with GenreClient.from_settings(settings) as client:
                now = go_live(settings, store, triton, client, choose)
    except GenreError:
        route_state.withdraw(database, requested)
        raise
    return Done(now, routes.book(database, wish, now), left_out, adopted)


def inspect(settings: Settings, store: ObjectStore, database: Database, triton: TritonControl) -> CheckFinding:
    """Whether the newest release serves, and answers as offline; of several replicas all that report. Changes nothing."""
    if settings.serving_agents:
        return fleet.inspect(settings, store, database)
    with GenreClient.from_settings(settings, deadline_s=20) as client:
        return live.inspect(settings, store, triton, client)


def is_quick(settings: Settings, store: ObjectStore, database: Database) -> bool:
    """Whether going over to another route takes seconds: the newest release serves already, and nobody is at work on it.

    Otherwise files are fetched, an environment is unpacked, or a replica is waited for.
    """
    release = newest(settings, store).id
    if is_under_way(settings, database):
        return False
    if settings.serving_agents:
        wish = replica_state.applied(database)
        there, left_out = fleet.standing(settings, database)
        return wish is not None and wish.release == release and not left_out and all(one.serves(wish) for one in there)
    return ModelRepository(settings.repository).release == release


def is_under_way(settings: Settings, database: Database) -> bool:
    """Whether somebody is making another release or route serve, this moment."""
    if settings.serving_agents:
        wish = replica_state.wanted(database)
        return wish is not None and not wish.applied
    return ModelRepository(settings.repository).is_locked()
