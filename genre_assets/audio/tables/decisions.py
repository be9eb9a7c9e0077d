"""What people decided of files in quarantine, an object each in the features bucket, so that no two writers meet.

* To be read again: kept until a refresh of the genre has looked at the file, whatever came of it.
* Chosen among the copies of a recording: kept, and in force as long as the file of that key has that content.
* Dropped: the audio itself, moved out of the raw bucket, until it is put back or removed by hand.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from genre_assets import keys
from genre_assets.audio.decoding.reasons import SETTLED, Chosen
from genre_assets.errors import DamagedObject
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore


@dataclass(frozen=True)
class Decision:
    """That somebody put a file back: which one as it was listed, with which verdict; `at` is in UTC, as ISO 8601."""

    key: str
    etag: str
    size: int
    fingerprint: str
    verdict: str
    by: str
    reason: str
    at: str

    @property
    def of_copies(self) -> bool:
        """Whether it chooses among the copies of a recording: then the file itself need not be read again."""
        return self.verdict in SETTLED


@dataclass(frozen=True)
class Asked:
    """The decisions that wait for a refresh, by the key of their object."""

    waiting: dict[str, Decision]

    def is_wanted(self, item: ObjectInfo) -> bool:
        """Whether the object, as it is listed, is to be read again."""
        listed = (item.key, item.etag, item.size)
        return any((one.key, one.etag, one.size) == listed and not one.of_copies for one in self.waiting.values())

    def contents(self) -> list[str]:
        """The content hashes whose copies are to be settled again."""
        return [one.fingerprint for one in self.waiting.values() if one.of_copies]


def keep(store: ObjectStore, settings: Settings, genre: str, decision: Decision) -> None:
    """Let the next refresh of the genre carry it out."""
    if decision.of_copies:
        store.write_json(settings.features_bucket, keys.chosen(decision.key), asdict(decision))
    store.write_json(settings.features_bucket, keys.read_again(genre, decision.key), asdict(decision))


def waiting(store: ObjectStore, settings: Settings, genres: Iterable[str] | None = None) -> Asked:
    """Those that wait for a refresh: of these genres, or all."""
    prefixes = [keys.read_again()] if genres is None else [keys.read_again(genre) for genre in genres]
    return Asked({key: one for prefix in prefixes for key, one in _read(store, settings, prefix)})


def carried_out(store: ObjectStore, settings: Settings, asked: Asked) -> None:
    """They were looked at."""
    for key in asked.waiting:
        store.delete(settings.features_bucket, key)


def chosen(store: ObjectStore, settings: Settings) -> Chosen:
    """What people chose among the copies of recordings."""
    found = (one for _, one in _read(store, settings, keys.chosen()))
    return {(one.key, one.fingerprint): one.at for one in found}


def marks(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """Genre -> a text that changes with the decisions on it that wait. Costs a listing."""
    found: dict[str, list[str]] = {}
    for entry in store.list(settings.features_bucket, keys.read_again()):
        found.setdefault(keys.genre_of_read_again(entry.key), []).append(f"{entry.key} {entry.etag}")
    return {genre: hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8] for genre, lines in found.items()}


def marked(digests: Mapping[str, str], marks: Mapping[str, str]) -> dict[str, str]:
    """Digests of listings by genre, such that one with a decision that waits differs from any that a table was made from."""
    plain = {genre: digest.partition("+")[0] for genre, digest in digests.items()}
    return {genre: f"{digest}+{marks[genre]}" if genre in marks else digest for genre, digest in plain.items()}


@dataclass(frozen=True)
class Dropped:
    """Audio that somebody took out of the raw bucket: the key that it had there, and what it was."""

    key: str
    etag: str
    size: int
    at: datetime
    kept_as: str

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {"key": self.key, "size": self.size, "dropped_at": self.at.isoformat(), "etag": self.etag}


def dropped(store: ObjectStore, settings: Settings, limit: int | None = None) -> Sequence[Dropped]:
    """What was dropped and can be put back, the newest first."""
    found = [
        Dropped(key, etag, entry.size, entry.last_modified, entry.key)
        for entry in store.list(settings.features_bucket, keys.DROPPED)
        for etag, key in [keys.dropped_from(entry.key)]
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


def _read(store: ObjectStore, settings: Settings, prefix: str) -> Iterable[tuple[str, Decision]]:
    for entry in list(store.list(settings.features_bucket, prefix)):
        try:
            yield entry.key, Decision(**store.read_json(settings.features_bucket, entry.key))
        except FileNotFoundError:  # carried out meanwhile
            continue
        except TypeError as error:
            address = f"s3://{settings.features_bucket}/{entry.key}"
            raise DamagedObject(f"{address} is no decision on a file in quarantine ({error}); remove it") from error
