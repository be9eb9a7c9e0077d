"""Checks on the packaging stage: one property each, metadata on pass and on fail."""

import dagster as dg

from genre_assets.packaging import assets, environment, properties, publish
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def _result(found: properties.Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=found.holds, description=found.summary, metadata=dict(found.facts))


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def interpreter_matches_the_stub(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Triton has a stub for the environment's Python, and the stub starts in the environment."""
    return _result(properties.stub_starts(environment.ensure(settings, store)))


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def numpy_fits_the_server(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """The environment has numpy 1: under numpy 2 the server passes BYTES tensors as empty, without an error."""
    return _result(properties.numpy_fits(environment.ensure(settings, store)))


@dg.asset_check(asset=assets.conda_pack, blocking=True)
def every_import_works(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Whatever the Triton models import can be imported in the packed environment."""
    return _result(properties.imports_work(environment.ensure(settings, store)))


@dg.asset_check(asset=assets.triton_repo, blocking=True)
def golden_clips_agree(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """A scratch Triton answers the golden clips as the offline path: labels equal, probabilities within 1e-5."""
    return _result(properties.parity_holds(publish.read_parity(settings, store)))


CHECKS = [interpreter_matches_the_stub, numpy_fits_the_server, every_import_works, golden_clips_agree]
