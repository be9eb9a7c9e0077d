"""Putting a release on disk and into the server, and taking it back.

What is loaded is asked of the server itself (a content hash in each model's configuration), never remembered, so a
crash between two steps is repaired by the next run. Only models whose content differs are loaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import BadInput, GenreError, PermanentFailure
from genre_assets.packaging.environment import READY, ensure
from genre_assets.packaging.layout import EMPTY, link_environment, live_release, point, releases_folder
from genre_assets.packaging.publish import fetch
from genre_assets.packaging.release import CONTENT, Release, verify, write_route
from genre_assets.serving.control import TritonControl
from genre_assets.serving.protocol import ENSEMBLE, PREDICTOR, PYTHON_MODELS
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Standing:
    """What the files of a repository say is served; None before the first release."""

    release: str | None
    route: str | None

    def serves_on(self) -> str:
        """For the end of an error message."""
        return f"Release {self.release} serves on" if self.release else "Nothing served before, and nothing serves now"


def stage(settings: Settings, store: ObjectStore, release: Release) -> Path:
    """Make the release complete and verified on disk, with its environment; returns its folder."""
    folder = releases_folder(settings.repository) / release.id
    if live_release(settings.repository) != release.id or not (folder / "release.json").exists():
        fetch(settings, store, release, folder)
    verify(folder, release)
    environment = settings.home / "environments" / release.environment
    if not (environment / READY).exists():
        found = ensure(settings, store)
        if found.lock.hash != release.environment:
            raise BadInput(
                f"the release needs environment {release.environment}, here is {found.lock.hash}: "
                "materialise triton_repo again"
            )
    link_environment(settings.repository, environment)
    return folder


def stale(control: TritonControl, release: Release, route: str | None) -> list[str]:
    """Models that the server does not serve as the release (and the route) wants them."""
    loaded = {name: control.parameters(name) for name in release.contents}
    found = [name for name, content in release.contents.items() if loaded[name].get(CONTENT) != content]
    if PREDICTOR not in found and loaded[PREDICTOR].get("route") != route:
        found.append(PREDICTOR)
    if ENSEMBLE not in found and not control.ready():
        found.append(ENSEMBLE)
    return found


def load(repository: Path, control: TritonControl, release: Release, route: str) -> None:
    """Load what differs. Raises `PermanentFailure` if the server does not serve the release on the route after it.

    A changed ensemble has changed signatures: it and its steps are taken in together. Else each changed step is replaced
    alone, while the others and the ensemble serve on.
    """
    changed = stale(control, release, route)
    for name in release.contents if ENSEMBLE in changed else changed:
        (repository / name / "config.pbtxt").touch()  # Triton takes in only what looks newer
    for name in [ENSEMBLE] if ENSEMBLE in changed else changed:
        control.load(name)
    left = stale(control, release, route) if changed else []
    if left:
        raise PermanentFailure(f"the server did not take in {', '.join(left)}")


def return_to(repository: Path, control: TritonControl, before: Standing) -> None:
    """Serve again what served before, or nothing. Raises only if that fails too."""
    if before.release is None or before.route is None:
        point(repository, EMPTY)
        for name in (ENSEMBLE, *PYTHON_MODELS):
            _unload(control, name)
        return
    folder = releases_folder(repository) / before.release
    write_route(folder / "models", before.route)
    point(repository, before.release)
    release = Release.from_json(json.loads((folder / "release.json").read_text()))
    load(repository, control, release, before.route)


def _unload(control: TritonControl, name: str) -> None:
    try:
        control.unload(name)
    except GenreError:
        return  # it was not loaded
