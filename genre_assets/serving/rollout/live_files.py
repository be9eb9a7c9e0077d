"""Putting a release on disk and into the server, and taking it back.

What is loaded is asked of the server itself (a content hash in each model's configuration), never remembered, so a
crash between two steps is repaired by the next run. Only models whose content differs are loaded.
"""

from pathlib import Path

from genre_assets.errors import BadInput, GenreError, PermanentFailure
from genre_assets.packaging import publish
from genre_assets.packaging.environment import conda
from genre_assets.packaging.model_repository import EMPTY, ModelRepository, Standing
from genre_assets.packaging.release import CONTENT, Release
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore
from genre_assets.triton.control import TritonControl
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, PYTHON_MODELS


def stage(settings: Settings, store: ObjectStore, repository: ModelRepository, release: Release) -> Path:
    """Make the release complete and verified on disk, with its environment; returns its folder."""
    folder = repository.folder(release.id)
    verify_signature(settings, store, release)
    if repository.release != release.id or not repository.has(release.id):
        publish.fetch(settings, store, release, folder)
        reached(Step.PROMOTE_FETCH)
    repository.verify(release)
    repository.link_environment(_environment(settings, store, release))
    reached(Step.PROMOTE_STAGE)
    return folder


def verify_signature(settings: Settings, store: ObjectStore, release: Release) -> None:
    """Raise `PermanentFailure` unless this release, to each hash of a file, is signed by an accepted key."""
    signed, _ = publish.verify(settings, store, release.id)
    if signed != release:
        raise PermanentFailure(f"release {release.id} was changed while it was read; try again")


def _environment(settings: Settings, store: ObjectStore, release: Release) -> Path:
    try:
        return conda.fetch(settings, store, release.environment)
    except FileNotFoundError:
        found = conda.ensure(settings, store)
        if found.lock.hash != release.environment:
            raise BadInput(
                f"the release needs environment {release.environment}, here is {found.lock.hash}: "
                "materialise triton_repo again"
            ) from None
        return found.folder


def stale(control: TritonControl, release: Release, route: str | None) -> list[str]:
    """Models that the server does not serve as the release (and the route) wants them."""
    loaded = {name: control.parameters(name) for name in release.contents}
    found = [name for name, content in release.contents.items() if loaded[name].get(CONTENT) != content]
    if PREDICTOR not in found and loaded[PREDICTOR].get("route") != route:
        found.append(PREDICTOR)
    if ENSEMBLE not in found and not control.ready():
        found.append(ENSEMBLE)
    return found


def load(repository: ModelRepository, control: TritonControl, release: Release, route: str) -> None:
    """Load what differs. Raises `PermanentFailure` if the server does not serve the release on the route after it.

    A changed ensemble has changed signatures: it and its steps are taken in together. Else each changed step is replaced
    alone, while the others and the ensemble serve on.
    """
    changed = stale(control, release, route)
    for name in release.contents if ENSEMBLE in changed else changed:
        repository.touch(name)
    for name in [ENSEMBLE] if ENSEMBLE in changed else changed:
        control.load(name)
    left = stale(control, release, route) if changed else []
    if left:
        raise PermanentFailure(f"the server did not take in {', '.join(left)}")
    reached(Step.PROMOTE_LOAD)


def return_to(repository: ModelRepository, control: TritonControl, before: Standing) -> None:
    """Serve again what served before, or nothing. Raises only if that fails too."""
    if before.release is None or before.route is None:
        repository.point(EMPTY)
        for name in (ENSEMBLE, *PYTHON_MODELS):
            _unload(control, name)
        return
    repository.write_route(before.route, before.release)
    repository.point(before.release)
    load(repository, control, repository.manifest(before.release), before.route)


def _unload(control: TritonControl, name: str) -> None:
    try:
        control.unload(name)
    except GenreError:
        return  # it was not loaded
