"""Stage 3, champion -> Triton repository: conda_pack -> triton_repo.

Bodies are scripts: load, one domain call, store, metadata. What a step computes lives in the other modules.
"""

import tempfile
from pathlib import Path

import dagster as dg

from genre_assets.checks import as_shown
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.packaging import parity, publish, release
from genre_assets.packaging.candidates import choose_versions
from genre_assets.packaging.environment import conda
from genre_assets.runs import pools
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dg.asset(deps=["champion_models"], kinds={"python", "s3"}, code_version="1", pool=pools.BUILD)
def conda_pack(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[None]:
    """Triton's execution environment, packed: an unpacked folder for the local server, an archive for containers.

    Built only when its lock changes; the platform's own code is not in it.
    """
    made = conda.ensure(settings, store, context.log.info)
    return dg.MaterializeResult(
        metadata={
            "result": f"Python {made.python} with {len(made.packages)} packages from {made.lock.source}, lock {made.lock.hash[:8]}.",
            "lock": made.lock.hash,
            "source": made.lock.source,
            **({"why not conda-forge": made.not_forge} if made.not_forge else {}),
            "python": made.python,
            "packages": dg.MetadataValue.md("\n".join(f"- {package}" for package in made.packages)),
            "versions": as_shown(made.versions),
            "seconds of the build": as_shown(made.built_s),
            "folder": dg.MetadataValue.path(made.folder),
            "archive": f"s3://{settings.serving_bucket}/{made.key}",
        },
        data_version=dg.DataVersion(made.lock.hash),
    )


@dg.asset(
    deps=["champion_models", conda_pack],
    kinds={"python", "onnx", "s3"},
    code_version="1",
    pool=pools.BUILD,
)
def triton_repo(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    registry: dg.ResourceParam[ModelRegistry],
) -> dg.MaterializeResult[None]:
    """A complete model repository, generated from the registry's champion, fallback (if there is a sound one) and newest candidate.

    It is named the newest release only if a scratch Triton on it answers the golden clips as the offline path does;
    otherwise nothing changes, and the check `golden_clips_agree` says why.
    """
    made_in = conda.ensure(settings, store, context.log.info)
    with tempfile.TemporaryDirectory() as folder:
        chosen = choose_versions(registry, Path(folder) / "models", settings.fallback_floor)
        made = release.build(Path(folder) / "release", settings, made_in, chosen.folders, chosen.roles)
        known = publish.is_accepted(settings, store, made)
        if not known:
            outcome = parity.check_parity(Path(folder) / "release", made, made_in.folder)
            publish.offer(settings, store, made, outcome, Path(folder) / "release")
    report = publish.read_parity(settings, store)
    return dg.MaterializeResult(
        metadata={
            "result": f"Release {made.id} with {', '.join(f'{role} version {version}' for role, version in made.roles.items())}: "
            f"{'it goes live' if report['passed'] else 'refused, its golden clips are answered otherwise than offline'}.",
            "release": made.id,
            "new": not known,
            "goes live": report["passed"],
            **{f"{route} version": version for route, version in made.roles.items()},
            "versions": as_shown(made.versions),
            "left out": chosen.left_out or "nothing",
            "files": len(made.files),
            "largest difference of a probability": report["largest_difference"],
            "repository": f"s3://{settings.serving_bucket}/releases/{made.id}/models",
        },
        data_version=dg.DataVersion(made.id),
    )


ASSETS = [conda_pack, triton_repo]
