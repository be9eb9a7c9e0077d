"""The objects of five buckets: each content once in the archive, by its SHA-256; read until a listing says that nothing changed."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from genre_assets import keys
from genre_assets.backup.manifest import Entry
from genre_assets.backup.places import Place, own_buckets
from genre_assets.errors import PermanentFailure
from genre_assets.settings import Settings
from genre_assets.stack.services.s3 import CANARY
from genre_assets.store import ObjectInfo, ObjectStore, translated

ROUNDS = 3  # readings of what changed meanwhile, before it is called restless
THREADS = 8
CHUNK = 1 << 20
POINTERS = (keys.CURRENT_RELEASE, keys.WANTED_RELEASE)  # name a release: written when its files are there
Progress = Callable[[int, int], None]


@dataclass
class Saved:
    """What was read: the objects as the last listing has them, and how many of those changed at every look."""

    entries: list[Entry] = field(default_factory=list)
    restless: int = 0


def listing(settings: Settings, store: ObjectStore) -> dict[tuple[str, str], ObjectInfo]:
    """Every object of the buckets that are there, by what the bucket is for and its key; the health light's own is none."""
    found: dict[tuple[str, str], ObjectInfo] = {}
    for role, bucket in own_buckets(settings).items():
        if store.has_bucket(bucket):
            found |= {(role, entry.key): entry for entry in store.list(bucket) if entry.key != CANARY}
    return found


def save(settings: Settings, store: ObjectStore, place: Place, scratch: Path, there: set[str], say: Progress) -> Saved:
    """Read all into the place; `there` are the files that it has from a backup that broke off.

    What changes while it is read is read again, so that the objects of the archive stood together at the last listing.
    """
    read: dict[tuple[str, str], tuple[ObjectInfo, Entry]] = {}
    found = listing(settings, store)
    left = list(found)
    for turn in range(ROUNDS):
        done = 0

        def one(at: tuple[str, str], found: dict[tuple[str, str], ObjectInfo] = found) -> tuple[str, str] | None:
            try:
                read[at] = (found[at], _read(settings, store, place, scratch, there, at, found[at]))
            except FileNotFoundError:
                return at  # removed since it was listed
            return None

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(one, left):
                done += 1
                if turn == 0:
                    say(done, len(left))
        now = listing(settings, store)
        left = [at for at, info in now.items() if at not in read or read[at][0] != info]
        found = now
        if not left:
            break
    return Saved(sorted((read[at][1] for at in found if at in read), key=lambda e: (e.bucket, e.key)), len(left))


def _read(
    settings: Settings, store: ObjectStore, place: Place, scratch: Path, there: set[str], at: tuple[str, str],
    info: ObjectInfo,
) -> Entry:  # fmt: skip
    role, key = at
    bucket = own_buckets(settings)[role]
    part, digest, size = scratch / uuid4().hex, hashlib.sha256(), 0
    try:
        with translated(f"s3://{bucket}/{key}"), part.open("wb") as file:
            got = store.client.get_object(Bucket=bucket, Key=key)
            for chunk in got["Body"].iter_chunks(CHUNK):
                digest.update(chunk)
                size += file.write(chunk)
        kind = got.get("ContentType", "application/octet-stream")
        entry = Entry(role, key, size, digest.hexdigest(), info.last_modified.isoformat(), kind)
        if entry.file not in there:
            place.add(entry.file, part)
            there.add(entry.file)
    finally:
        part.unlink(missing_ok=True)
    return entry


def damaged(place: Place, entries: Iterable[Entry], scratch: Path, say: Progress) -> list[str]:
    """Files of the archive that are missing or have other bytes than their name says."""
    wanted = sorted({entry.file for entry in entries})
    wrong = []
    for done, name in enumerate(wanted, 1):
        part = scratch / uuid4().hex
        try:
            if sha256(place.fetch(name, part)) != Path(name).name:
                wrong.append(name)
        except FileNotFoundError:
            wrong.append(name)
        finally:
            part.unlink(missing_ok=True)
        say(done, len(wanted))
    return wrong


def put_back(
    settings: Settings, store: ObjectStore, place: Place, entries: Sequence[Entry], scratch: Path, say: Progress
) -> None:
    """Write every object; manifests of releases after their files, oldest first, and what names a release last of all.

    Raises `PermanentFailure` if an object is not there afterwards.
    """
    store.ensure_buckets(*own_buckets(settings).values())
    last = sorted((entry for entry in entries if _order(entry)), key=lambda e: (_order(e), e.modified))
    first = [entry for entry in entries if not _order(entry)]

    def one(entry: Entry) -> None:
        part = scratch / uuid4().hex
        bucket = own_buckets(settings)[entry.bucket]
        try:
            file = place.fetch(entry.file, part)
            with translated(f"s3://{bucket}/{entry.key}"):
                store.client.upload_file(str(file), bucket, entry.key, ExtraArgs={"ContentType": entry.type})
        finally:
            part.unlink(missing_ok=True)

    with ThreadPoolExecutor(THREADS) as pool:
        for done, _ in enumerate(pool.map(one, first), 1):
            say(done, len(entries))
    for entry in last:
        one(entry)
    now = listing(settings, store)
    lost = [e for e in entries if (e.bucket, e.key) not in now or now[(e.bucket, e.key)].size != e.size]
    if lost:
        raise PermanentFailure(
            f"{len(lost)} objects are not in their bucket after they were written, the first is {lost[0].key} of the "
            f"bucket {lost[0].bucket}: look at the log of S3, and restore again with --replace"
        )


def remove_others(settings: Settings, store: ObjectStore, entries: Iterable[Entry]) -> int:
    """Remove what is in the buckets and not in the archive; returns how many objects."""
    kept = {(entry.bucket, entry.key) for entry in entries}
    others = [at for at in listing(settings, store) if at not in kept]
    for role, key in others:
        store.delete(own_buckets(settings)[role], key)
    return len(others)


def _order(entry: Entry) -> int:
    if entry.bucket != "serving" or not entry.key.startswith(keys.RELEASES):
        return 0
    if entry.key in POINTERS:
        return 2
    return int(entry.key == keys.release(keys.release_of(entry.key)))


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
