"""What is in the raw bucket, by genre, and what changed in it: pure functions over listings.

Keys are `<genre>/<anything>`. What the platform itself keeps at the bucket's root (`groups.csv`, `labels/`) is no audio.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from genre_assets.genres import GENRES
from genre_assets.store import ObjectInfo

UNKNOWN = "unknown"  # the quarantine's name for what lies in no genre's folder
_NOT_AUDIO = ("groups.csv", "labels/")


class Listed(Protocol):
    """What a digest is made of: an object as listed, or as an inventory remembers it."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def etag(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


def by_genre(objects: Iterable[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    """The objects of every genre (an empty list for an empty one), and of `UNKNOWN`."""
    found: dict[str, list[ObjectInfo]] = {genre: [] for genre in (*GENRES, UNKNOWN)}
    for item in objects:
        if not item.key.startswith(_NOT_AUDIO):
            folder, _, name = item.key.partition("/")
            found[folder if name and folder in GENRES else UNKNOWN].append(item)
    return found


def digest(objects: Iterable[Listed]) -> str:
    """A short fingerprint of a listing: changes when an object is added, removed or overwritten, not with its order."""
    lines = sorted(f"{item.key}\t{item.etag}\t{item.size}" for item in objects)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def digests(objects: Iterable[ObjectInfo]) -> dict[str, str]:
    """The digest of every genre and of `UNKNOWN`."""
    return {genre: digest(items) for genre, items in by_genre(objects).items()}


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Genres whose digest is another, in label order. What lies in no genre is looked at by the first genre's run."""
    genres = {genre for genre, value in now.items() if before.get(genre) != value}
    if UNKNOWN in genres:
        genres.add(GENRES[0])
    return [genre for genre in GENRES if genre in genres]


def contiguous(genres: Sequence[str]) -> list[tuple[str, str]]:
    """The genres as (first, last) of blocks without a gap in label order: a run each."""
    blocks: list[tuple[int, int]] = []
    for position in sorted(GENRES.index(genre) for genre in genres):
        if blocks and blocks[-1][1] == position - 1:
            blocks[-1] = (blocks[-1][0], position)
        else:
            blocks.append((position, position))
    return [(GENRES[first], GENRES[last]) for first, last in blocks]
