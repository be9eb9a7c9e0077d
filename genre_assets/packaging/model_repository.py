"""The live model repository on disk: which release is linked, which route is written, who may change it, is it whole.

`releases/<id>/models` is a complete Triton repository; `repository` is a link to one of them. Replacing the link is
the whole act of publishing: at any moment, and after a crash, the server sees one release whole.

    <root>/repository -> releases/<id>/models
    <root>/repository.lock
    <root>/releases/<id>/{models/, golden/, release.json}
    <root>/environments/<lock hash> -> the unpacked environment
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.disk.whole import unfinished
from genre_assets.errors import BadInput
from genre_assets.steps import Step, reached
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, model_for

if TYPE_CHECKING:
    from genre_assets.packaging.release import Release

EMPTY = "empty"


@dataclass(frozen=True)
class Standing:
    """What the files say is served; None before the first release."""

    release: str | None
    route: str | None

    def serves_on(self) -> str:
        """For the end of an error message."""
        return f"Release {self.release} serves on" if self.release else "Nothing served before, and nothing serves now"


@dataclass(frozen=True)
class ModelRepository:
    """The only owner of what lies at `path`: nobody else writes its link, its route, its lock or its releases."""

    path: Path

    @property
    def releases(self) -> Path:
        """Folder of the releases that belong to the repository."""
        return self.path.parent / "releases"

    def folder(self, release: str) -> Path:
        """Where a release lies, or would lie."""
        return self.releases / release

    def ensure(self) -> None:
        """Make the link, to an empty release at first. Raises `BadInput` if something else stands in its place."""
        if self.path.is_symlink() and self.path.exists():
            return
        if self.path.exists() and not self.path.is_symlink():
            if not self.path.is_dir() or any(self.path.iterdir()):
                raise BadInput(
                    f"{self.path} is not managed by this platform: move it away, or set GENRE_TRITON_REPOSITORY to another path"
                )
            self.path.rmdir()
        (self.folder(EMPTY) / "models").mkdir(parents=True, exist_ok=True)
        self.point(EMPTY)

    @property
    def is_released(self) -> bool:
        """Whether the linked release holds the ensemble."""
        return (self.path / ENSEMBLE / "config.pbtxt").exists()

    @property
    def release(self) -> str | None:
        """Id of the release that the link points to; None before the first."""
        if not self.path.is_symlink():
            return None
        name = self.path.readlink().parent.name
        return None if name == EMPTY else name

    @property
    def route(self) -> str | None:
        """The route that the files say, whether or not a server runs."""
        from genre_assets.packaging.config import from_pbtxt  # here and below: the supervisor needs none of it

        path = self.model(PREDICTOR) / "config.pbtxt"
        return from_pbtxt(path.read_text()).parameters.get("route") if path.exists() else None

    @property
    def has_fallback(self) -> bool:
        """Whether the linked release has a fallback. Before the first release, and if it cannot be read: as if it had."""
        from genre_assets.packaging.config import from_pbtxt

        try:
            return bool(from_pbtxt((self.model(PREDICTOR) / "config.pbtxt").read_text()).parameters.get("fallback"))
        except (OSError, BadInput):
            return True

    def model(self, step: str) -> Path:
        """Folder of the model of the linked release that is this step of its ensemble, or where one would lie."""
        return model_folder(self.path, step)

    def standing(self) -> Standing:
        """Release and route by the files."""
        return Standing(self.release, self.route)

    def manifest(self, release: str) -> "Release":
        """What a release on disk says of itself. Raises `OSError`, `ValueError` or `BadInput` if it is not whole."""
        from genre_assets.packaging.release import Release

        return Release.from_json(json.loads((self.folder(release) / "release.json").read_text()))

    def has(self, release: str) -> bool:
        """Whether the release was put here whole."""
        return (self.folder(release) / "release.json").exists()

    def verify(self, release: "Release") -> None:
        """Raise `PermanentFailure` if a file of the release on disk is missing or is another."""
        from genre_assets.packaging.release import verify

        verify(self.folder(release.id), release)

    def point(self, release: str) -> None:
        """Switch to a release that is complete on disk: one rename, or nothing if it is there."""
        target = Path("releases") / release / "models"
        if self.path.is_symlink() and self.path.readlink() == target:
            return
        with unfinished(self.path, own_name=True) as link:  # the first one is made without the lock
            link.symlink_to(target)
        reached(Step.PROMOTE_LINK)

    def write_route(self, route: str, release: str | None = None) -> None:
        """Let a release (the linked one) name the route that serves: one rename, or nothing if it says so."""
        from genre_assets.packaging.release import write_route

        write_route(self.folder(release) / "models" if release else self.path, route)
        reached(Step.PROMOTE_ROUTE)

    def touch(self, model: str) -> None:
        """Make a model look newer: Triton takes in nothing else."""
        (self.path / model / "config.pbtxt").touch()

    def link_environment(self, environment: Path) -> None:
        """Put the environment where the configurations of the models look for it."""
        link = self.path.parent / "environments" / environment.name
        link.parent.mkdir(exist_ok=True)
        target = os.path.relpath(environment, link.parent)  # relative: a container may mount both elsewhere
        if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115  # the text of it
            return
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def remove_old(self, keep: int) -> list[str]:
        """Remove all but the linked release and the newest `keep` others; returns the ids removed."""
        others = [p for p in self.releases.iterdir() if p.is_dir() and p.name not in {self.release, EMPTY}]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[keep:]:
            shutil.rmtree(path)
        return [path.name for path in others[keep:]]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time, over all processes; a process that dies gives the lock back."""
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def unless_locked(self) -> Iterator[bool]:
        """The same without waiting: whether the lock was free, and is held until the end of the block."""
        with self._lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def is_locked(self) -> bool:
        """Whether somebody is in the middle of a change."""
        try:
            with self._lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False  # there is no repository yet
        except BlockingIOError:
            return True
        return False

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")


def model_folder(models: Path, step: str) -> Path:
    """Folder of that of a release's `models` which is this step of the ensemble, or where one would lie."""
    return models / model_for(step, sorted(path.name for path in models.iterdir()) if models.is_dir() else ())
