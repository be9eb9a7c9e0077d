"""What is in the raw bucket, by genre, and what changed in it: listings, and pure functions over them.

Keys are `<genre>/<anything>`. What the platform itself keeps at the bucket's root (`groups.csv`, `labels.yaml`, `labels/`) is no audio.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from genre_assets import keys
from genre_assets.labels import UNKNOWN
from genre_assets.store import ObjectInfo, ObjectStore


class Listed(Protocol):
    """What a digest is made of: an object as listed, or as an inventory remembers it."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def etag(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


def by_genre(objects: Iterable[ObjectInfo], genres: Sequence[str]) -> dict[str, list[ObjectInfo]]:
    """The objects of every one of `genres` (an empty list for an empty one), in their order, and of `UNKNOWN`, last."""
    found: dict[str, list[ObjectInfo]] = {genre: [] for genre in (*genres, UNKNOWN)}
    for item in objects:
        if keys.is_audio(item.key):
            folder, _, name = item.key.partition("/")
            found[folder if name and folder in found else UNKNOWN].append(item)
    return found


def of_genres(
    store: ObjectStore, bucket: str, labels: Sequence[str], genres: Sequence[str]
) -> dict[str, list[ObjectInfo]]:
    """The objects of some `genres` and of `UNKNOWN`, as `by_genre` has them; the other `labels` are not listed."""
    found = {genre: list(store.list(bucket, f"{genre}/")) for genre in genres}
    folders, loose = store.top(bucket)
    elsewhere = [item for folder in folders if folder not in labels for item in store.list(bucket, f"{folder}/")]
    audio = (item for item in (*loose, *elsewhere) if keys.is_audio(item.key))
    return {**found, UNKNOWN: sorted(audio, key=lambda item: item.key)}


def by_folder(names: Iterable[str]) -> dict[str, int]:
    """How many keys lie in each folder at the bucket's root, in order; "" stands for those in none."""
    return dict(sorted(Counter(key.split("/")[0] if "/" in key else "" for key in names).items()))


def digest(objects: Iterable[Listed]) -> str:
    """A short fingerprint of a listing: changes when an object is added, removed or overwritten, not with its order."""
    lines = sorted(f"{item.key}\t{item.etag}\t{item.size}" for item in objects)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def digests(objects: Iterable[ObjectInfo], genres: Sequence[str]) -> dict[str, str]:
    """The digest of every one of `genres`, in their order, and of `UNKNOWN`, last."""
    return {genre: digest(items) for genre, items in by_genre(objects, genres).items()}


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Genres whose digest is another, in the order of `now`.

    Every run looks at what lies in no genre; if nothing else changed, that is a run of the first genre.
    """
    different = [genre for genre, value in now.items() if before.get(genre) != value]
    genres = [genre for genre in different if genre != UNKNOWN]
    return genres or ([genre for genre in now if genre != UNKNOWN][:1] if different else [])
