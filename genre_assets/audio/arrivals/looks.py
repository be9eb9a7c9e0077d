"""What the sensor lists at a tick: the whole bucket, or the genres that S3's events name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from genre_assets.audio.arrivals.decision import Cursor
from genre_assets.audio.arrivals.events import EventQueue, genres_of
from genre_assets.audio.tables import decisions, listing
from genre_assets.errors import TransientFailure
from genre_assets.labels import UNKNOWN
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Heard:
    """What the events said: the cursor with it, whether the whole bucket is to be listed, and what is worth telling."""

    cursor: Cursor
    everything: bool
    told: str = ""


def hear(queue: EventQueue | None, settings: Settings, cursor: Cursor, names: Sequence[str], *, clock: float) -> Heard:
    """Read the queue. Its messages are kept in the cursor, and removed from the queue at the next tick, which has it stored.

    Without a queue, or while it does not answer, or when the last full listing is too old, everything is listed.
    """
    if queue is None:
        return Heard(Cursor(cursor.seen, cursor.asked_at), everything=True)
    try:
        queue.forget(cursor.receipts)
        found = queue.receive()
    except TransientFailure as error:
        return Heard(replace(cursor, receipts=()), everything=True, told=str(error))
    age = clock - cursor.listed_at if cursor.listed_at is not None else -1.0
    elsewhere = {UNKNOWN} if any(not genres_of([key], names) for key in found.keys) else set[str]()
    named = sorted({*cursor.named, *genres_of(found.keys, names), *elsewhere})
    told = f"{len(found.strange)} messages are no events of S3, such as {found.strange[0]!r}" if found.strange else ""
    kept = replace(cursor, named=tuple(named), receipts=found.receipts)
    return Heard(kept, everything=not 0 <= age < settings.s3_list_seconds, told=told)


def looked(heard: Heard, clock: float) -> Cursor:
    """The cursor once everything, or what was named, was listed."""
    return replace(heard.cursor, named=(), listed_at=clock if heard.everything else heard.cursor.listed_at)


def to_list(cursor: Cursor, names: Sequence[str]) -> set[str]:
    """What must be listed though not everything is: what events named, and what was never seen."""
    there = {*names, UNKNOWN}
    new = there - set(cursor.seen)
    gone = set(cursor.seen) - there  # such a folder's files lie in no label's now
    return {*(there & set(cursor.named)), *new, *({UNKNOWN} if new or gone else ())}


def look(
    store: ObjectStore,
    settings: Settings,
    names: Sequence[str],
    seen: Mapping[str, str],
    wanted: Collection[str] | None,
    marks: Mapping[str, str],
) -> dict[str, str]:
    """The digest of every genre and of `UNKNOWN`: listed now if it is `wanted` (None: all), else as it was seen.

    A genre with a decision of a person that waits has its mark (`decisions.marks`) in it.
    """
    if wanted is None:
        return decisions.marked(listing.digests(store.list(settings.raw_bucket), names), marks)
    digests = dict(seen)
    if wanted:
        genres = [name for name in names if name in wanted]
        found = listing.of_genres(store, settings.raw_bucket, names, genres)
        digests |= {genre: listing.digest(items) for genre, items in found.items()}
    return decisions.marked({name: digests[name] for name in (*names, UNKNOWN)}, marks)
