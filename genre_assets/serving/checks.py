"""Checks on the serving stage: one property each, metadata on pass and on fail. Drift's are in `drift_checks.py`."""

import dagster as dg

from genre_assets.database import Database
from genre_assets.serving import assets, going_live
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.control import TritonControl


@dg.asset_check(asset=assets.live_ensemble, name=assets.LIVE_CHECK)
def server_serves_the_newest_release(
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.AssetCheckResult:
    """Triton says that the models loaded are those of the newest release, and answers the golden clips as offline.

    Of several replicas each one's agent says so, for all that report.
    """
    return going_live.inspect(settings, store, database, triton).result()


CHECKS = [server_serves_the_newest_release]
