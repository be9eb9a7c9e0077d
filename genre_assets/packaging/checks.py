"""Checks on the packaging stage: one property each, metadata on pass and on fail. A check only looks: it makes nothing."""

from collections.abc import Callable

import dagster as dg

from genre_assets.checks import CheckFinding
from genre_assets.errors import PermanentFailure
from genre_assets.packaging import assets, properties, publish
from genre_assets.packaging.environment.lock import Environment
from genre_assets.packaging.environment.look import as_it_is
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def _of_environment(
    settings: Settings, store: ObjectStore, holds: Callable[[Environment], CheckFinding]
) -> dg.AssetCheckResult:
    try:
        with as_it_is(settings, store) as environment:
            return holds(environment).result()
    except PermanentFailure as error:
        return CheckFinding(False, str(error), {"source": settings.environment_source}).result()


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def interpreter_matches_the_stub(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Triton has a stub for the environment's Python, and the stub starts in the environment."""
    return _of_environment(settings, store, properties.stub_starts)


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def numpy_fits_the_server(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """The environment has numpy 1: under numpy 2 the server passes BYTES tensors as empty, without an error."""
    return _of_environment(settings, store, properties.numpy_fits)


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def every_import_works(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Whatever the Triton models import can be imported in the packed environment."""
    return _of_environment(settings, store, properties.imports_work)


@dg.asset_check(asset=assets.triton_repo, blocking=True)
def golden_clips_agree(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """A scratch Triton answers the golden clips as the offline path: labels equal, probabilities within 1e-5."""
    return properties.parity_holds(publish.read_parity(settings, store)).result()


CHECKS = [interpreter_matches_the_stub, numpy_fits_the_server, every_import_works, golden_clips_agree]
