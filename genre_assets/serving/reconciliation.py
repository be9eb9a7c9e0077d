"""Do the books, the files and the server agree on who serves? A run that was killed, or a restart, may leave them apart.

Precedence: a move that is due comes first, whoever asked for it, and the job `promote` makes it. Without one the books
are right, pins included, and files and server follow them. Nothing is done while they are in the middle of a change.
"""

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.packaging.layout import live_release, releases_folder
from genre_assets.packaging.release import Release
from genre_assets.serving.control import TritonControl
from genre_assets.serving.live_files import stale
from genre_assets.serving.routing import lock_file, written_route

SETTLING_SECONDS = 5.0  # a run books a moment after it has switched: apart for longer, nobody is at work


@dataclass(frozen=True)
class Observed:
    """Who serves by the books, by the files and by the server; what of the release the server has not taken in."""

    books: str | None
    files: str | None
    server: str | None
    stale: tuple[str, ...] = ()


def observe(books: str | None, repository: Path, control: TritonControl) -> Observed | None:
    """Look at all three; None while somebody holds the repository's lock, or before the first release.

    Raises `TransientFailure` if the server does not answer.
    """
    identifier = live_release(repository)
    if identifier is None or _is_locked(repository):
        return None
    files, server = written_route(repository), control.route()
    try:
        manifest = json.loads((releases_folder(repository) / identifier / "release.json").read_text())
        left = tuple(stale(control, Release.from_json(manifest), files))
    except (OSError, ValueError, BadInput, PermanentFailure):
        left = ("release.json",)
    return Observed(books, files, server, left)


def difference(seen: Observed | None) -> str | None:
    """What does not agree, in words; None if all is equal, or nothing is booked yet."""
    if seen is None or seen.books is None:
        return None
    said = [
        f"{what} {there or 'nothing'}"
        for what, there in (("the files say", seen.files), ("Triton serves", seen.server))
        if there != seen.books
    ]
    if not said and seen.stale:
        said = [f"Triton has not taken in {', '.join(seen.stale)}"]
    return f"the {seen.books} serves by the books, but {' and '.join(said)}" if said else None


def _is_locked(repository: Path) -> bool:
    try:
        with lock_file(repository).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
