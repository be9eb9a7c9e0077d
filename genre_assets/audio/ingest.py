"""Putting audio into the raw bucket. Idempotent: what is there is not sent again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genre_assets.audio import groups
from genre_assets.audio.find_audio import find_audio
from genre_assets.audio.sources import Source
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Uploaded:
    """Counts of files, and of groups that were new or changed; of those left out, by folder, how many and why."""

    uploaded: int
    unchanged: int
    groups: int
    left_out: Mapping[str, str]


def ingest(
    source: Source,
    *,
    store: ObjectStore,
    settings: Settings,
    limit: int | None = None,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Uploaded:
    """Put `<source>/<genre>/**` (audio by its suffix; the content is judged later) to `<genre>/**` in the raw bucket.

    A folder may write its genre in other ways (`Hip-Hop`, `hip_hop`): its files go to `hiphop/`. With `limit`, no more than
    so many of each genre; the same ones each time, and those of a smaller limit are among those of a larger one. What the
    source says itself (`find_audio`) counts first; its groups are added to those of the bucket, before the audio is there.

    Raises `BadInput`; see `find_audio`.
    """
    found = find_audio(source, limit)
    bucket = settings.raw_bucket
    store.ensure_buckets(bucket)
    changed = groups.add(store, settings, found.groups)
    there = {item.key: item for item in store.list(bucket)}
    uploaded = 0
    for done, (key, name) in enumerate(found.files.items(), start=1):
        if key not in there or not source.is_same(name, there[key], store, bucket):
            source.send(name, store, bucket, key)
            uploaded += 1
        progress(done, len(found.files))
    return Uploaded(uploaded, len(found.files) - uploaded, changed, found.left_out)
