"""Putting a release on disk and into the server, and taking it back.

What is loaded is asked of the server itself (a content hash in each model's configuration), never remembered, so a
crash between two steps is repaired by the next run. Only models whose content differs are loaded.
"""

from collections.abc import Collection
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
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, model_for, step_of


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
    predictor = model_for(PREDICTOR, release.contents)
    if predictor not in found and loaded[predictor].get("route") != route:
        found.append(predictor)
    if ENSEMBLE not in found and not control.ready():
        found.append(ENSEMBLE)
    return found


def load(repository: ModelRepository, control: TritonControl, release: Release, route: str) -> None:
    """Load what differs. Raises `PermanentFailure` if the server does not serve the release on the route after it.

    Steps of another contract have names of their own. They are taken in beside those that serve, one that does not load
    costs nothing, and the ensemble goes over to all of them at once. Else each changed step is replaced alone, while the
    others and the ensemble serve on. (Early releases name no contract: one of them replaces another's steps and ensemble
    together, and a request may meet both.)
    """
    changed = stale(control, release, route)
    own = changed
    if ENSEMBLE in changed:
        own = [name for name in changed if name != ENSEMBLE and not control.parameters(name)]
    for name in release.contents if ENSEMBLE in changed else changed:
        repository.touch(name)
    for name in [*own, ENSEMBLE] if ENSEMBLE in changed else own:
        control.load(name)
    left = stale(control, release, route) if changed else []
    if left:
        raise PermanentFailure(f"the server did not take in {', '.join(left)}")
    reached(Step.PROMOTE_LOAD)


def return_to(repository: ModelRepository, control: TritonControl, before: Standing) -> None:
    """Serve again what served before, or nothing. Raises only if that fails too."""
    if before.release is None or before.route is None:
        repository.point(EMPTY)
        _unload(control, ENSEMBLE)
        _retire(control, ())
        return
    repository.write_route(before.route, before.release)
    repository.point(before.release)
    release = repository.manifest(before.release)
    load(repository, control, release, before.route)
    retire(control, release)


def retire(control: TritonControl, release: Release) -> None:
    """Take the steps of other releases out of service, when the release serves: no ensemble asks them any more.

    Requests that they still work on are answered. What cannot be taken out now only holds memory, until the next time.
    """
    _retire(control, release.contents)


def _retire(control: TritonControl, kept: Collection[str]) -> None:
    try:
        loaded = control.loaded_models()
    except GenreError:
        return
    for name in sorted(loaded - set(kept)):
        if step_of(name):
            _unload(control, name)


def _unload(control: TritonControl, name: str) -> None:
    try:
        control.unload(name)
    except GenreError:
        return  # it was not loaded, or the server is away
