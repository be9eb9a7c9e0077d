"""Do the books, the files and the server agree on who serves? A run that was killed, or a restart, may leave them apart.

Precedence: a move that is due comes first, whoever asked for it, and the job `promote` makes it. Without one the books
are right, pins included, and files and server follow them. Nothing is done while they are in the middle of a change.
"""

from dataclasses import dataclass

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.rollout.live_files import stale
from genre_assets.triton.control import TritonControl

SETTLING_SECONDS = 5.0  # a run books a moment after it has switched: apart for longer, nobody is at work


@dataclass(frozen=True)
class Observed:
    """Who serves by the books, by the files and by the server; what of the release the server has not taken in."""

    books: str | None
    files: str | None
    server: str | None
    stale: tuple[str, ...] = ()


def observe(books: str | None, repository: ModelRepository, control: TritonControl) -> Observed | None:
    """Look at all three; None while somebody holds the repository's lock, or before the first release.

    Raises `TransientFailure` if the server does not answer.
    """
    identifier = repository.release
    if identifier is None or repository.is_locked():
        return None
    files, server = repository.route, control.route()
    try:
        left = tuple(stale(control, repository.manifest(identifier), files))
    except (OSError, ValueError, BadInput, PermanentFailure):
        left = ("release.json",)
    return Observed(books, files, server, left)


def difference(seen: Observed | None) -> str | None:
    """What does not agree, in words; None if all is equal."""
    if seen is None:
        return None
    if seen.books is None:  # the run that released for the first time was killed before it booked
        return f"the files say {seen.files}, Triton serves {seen.server or 'nothing'}, and nothing is booked"
    said = [
        f"{what} {there or 'nothing'}"
        for what, there in (("the files say", seen.files), ("Triton serves", seen.server))
        if there != seen.books
    ]
    if not said and seen.stale:
        said = [f"Triton has not taken in {', '.join(seen.stale)}"]
    return f"the {seen.books} serves by the books, but {' and '.join(said)}" if said else None
