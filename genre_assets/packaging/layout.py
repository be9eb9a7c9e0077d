"""Where releases and the live repository lie on disk, and the atomic switch from one release to another.

`releases/<id>/models` is a complete Triton repository; `repository` is a link to one of them. Replacing the link is
the whole act of publishing: at any moment, and after a crash, the server sees one release whole.

    <root>/repository -> releases/<id>/models
    <root>/releases/<id>/{models/, golden/, release.json}
    <root>/environments/<lock hash> -> the unpacked environment
"""

import os
import shutil
from pathlib import Path

from genre_assets.errors import BadInput
from genre_assets.serving.protocol import ENSEMBLE

EMPTY = "empty"


def releases_folder(repository: Path) -> Path:
    """Folder of the releases that belong to a repository."""
    return repository.parent / "releases"


def ensure_repository(repository: Path) -> None:
    """Make the link, to an empty release at first. Raises `BadInput` if something else stands in its place."""
    if repository.is_symlink() and repository.exists():
        return
    if repository.exists() and not repository.is_symlink():
        if not repository.is_dir() or any(repository.iterdir()):
            raise BadInput(
                f"{repository} is not managed by this platform: move it away, or set GENRE_TRITON_REPOSITORY to another path"
            )
        repository.rmdir()
    (releases_folder(repository) / EMPTY / "models").mkdir(parents=True, exist_ok=True)
    point(repository, EMPTY)


def is_released(repository: Path) -> bool:
    """Whether the live repository holds the ensemble."""
    return (repository / ENSEMBLE / "config.pbtxt").exists()


def live_release(repository: Path) -> str | None:
    """Id of the release that the link points to; None before the first."""
    if not repository.is_symlink():
        return None
    name = repository.readlink().parent.name
    return None if name == EMPTY else name


def point(repository: Path, release: str) -> None:
    """Switch the live repository to a release that is complete on disk: one rename, or nothing if it is there."""
    target = Path("releases") / release / "models"
    if repository.is_symlink() and repository.readlink() == target:
        return
    unfinished = repository.with_name(f".{repository.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(target)
    unfinished.replace(repository)


def link_environment(models: Path, environment: Path) -> None:
    """Put the environment where the configurations of a repository at `models` look for it."""
    link = models.parent / "environments" / environment.name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(environment, link.parent))  # relative: a container may mount both elsewhere


def remove_old(repository: Path, keep: int) -> list[str]:
    """Remove all but the live release and the newest `keep` others; returns the ids removed."""
    folder = releases_folder(repository)
    live = live_release(repository)
    others = [p for p in folder.iterdir() if p.is_dir() and p.name not in {live, EMPTY}]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[keep:]:
        shutil.rmtree(path)
    return [path.name for path in others[keep:]]
