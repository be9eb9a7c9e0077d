"""Checks on the serving stage: one property each, metadata on pass and on fail. Drift's are in `drift_checks.py`."""

import dagster as dg

from genre_assets.database import Database
from genre_assets.serving import assets
from genre_assets.serving.agent import fleet
from genre_assets.serving.rollout import live
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl


@dg.asset_check(asset=assets.live_ensemble)
def server_serves_the_newest_release(
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.AssetCheckResult:
    """Triton says that the models loaded are those of the newest release, and answers the golden clips as offline.

    Of several replicas each one's agent says so, for all that report.
    """
    if settings.serving_agents:
        return fleet.inspect(settings, store, database).result()
    with GenreClient.from_settings(settings, deadline_s=20) as client:
        found = live.inspect(settings, store, triton, client)
    return found.result()


CHECKS = [server_serves_the_newest_release]
