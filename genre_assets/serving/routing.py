"""Switching who answers: the predictor's version policy is rewritten on disk and loaded.

The choice is persistent (a restarted server serves it), never touches the ensemble, and costs no request: Triton takes
the new version in only when it is ready. If it does not load, the file is restored and the old version serves on.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import BadInput, GenreError, PermanentFailure
from genre_assets.packaging.config import from_pbtxt
from genre_assets.packaging.layout import is_released
from genre_assets.packaging.release import write_route
from genre_assets.serving.control import TritonControl
from genre_assets.serving.protocol import PREDICTOR


@dataclass(frozen=True)
class Switch:
    """What a switch did. `before` is None when nothing was served."""

    before: str | None
    after: str
    version: int
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether another route serves than before."""
        return self.before != self.after


def switch_route(repository: Path, control: TritonControl, route: str) -> Switch:
    """Let `route` ("champion" or "fallback") answer from now on.

    Raises
    ------
    BadInput
        If nothing is released, or the release has no such version.
    PermanentFailure
        If the version does not load; the old one serves on and the files are as before.
    TransientFailure
        If the server does not answer.
    """
    started = time.monotonic()
    if not is_released(repository):
        raise BadInput("nothing is released yet: run the build job first")
    with locked(repository):
        path = repository / PREDICTOR / "config.pbtxt"
        before = path.read_text()
        config = write_route(repository, route)
        serving = control.route()
        try:
            if serving != route or from_pbtxt(before).parameters.get("route") != route:
                control.load(PREDICTOR)
            if control.route() != route:
                raise PermanentFailure(f"the server was told to serve the {route} and serves the {control.route()}")
        except GenreError:
            path.write_text(before)
            raise
    return Switch(serving, route, config.versions[0], time.monotonic() - started)


def written_route(repository: Path) -> str | None:
    """The route that the repository's files say, whether or not a server runs."""
    path = repository / PREDICTOR / "config.pbtxt"
    return from_pbtxt(path.read_text()).parameters.get("route") if path.exists() else None


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """One change of a repository at a time, over all processes."""
    with lock_file(repository).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def unless_locked(repository: Path) -> Iterator[bool]:
    """The same without waiting: whether the lock was free, and is held until the end of the block."""
    with lock_file(repository).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def lock_file(repository: Path) -> Path:
    """Locked while a change of the repository is made."""
    return repository.with_name(f"{repository.name}.lock")
