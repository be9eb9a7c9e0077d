"""Putting audio into the raw bucket. Idempotent: what is there is not sent again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from genre_assets import keys, labels
from genre_assets.audio import groups, splits
from genre_assets.audio.find_audio import find_audio
from genre_assets.audio.sources import Source
from genre_assets.errors import BadInput
from genre_assets.labels import LabelSet
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Uploaded:
    """Counts of files, and of groups and splits that were new or changed; of those left out, by folder, how many and why."""

    uploaded: int
    unchanged: int
    groups: int
    from_tags: int  # groups that files say of themselves, where nobody else did
    splits: int
    left_out: Mapping[str, str]
    missing: Sequence[str]  # labels that would have to be added for some of those
    labels: LabelSet


def ingest(
    source: Source,
    *,
    store: ObjectStore,
    settings: Settings,
    limit: int | None = None,
    label_set: LabelSet | None = None,
    tags: bool = True,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Uploaded:
    """Put `<source>/<label>/**` (audio by its suffix; the content is judged later) to `<label>/**` in the raw bucket.

    Before the first model every folder with audio is a label; afterwards, the label set's are. A folder may write its label
    in other ways (`Hip-Hop`, `hip_hop`). With `limit`, no more than so many of each label; the same ones each time, and those
    of a smaller limit are among those of a larger one. What the source says itself (`find_audio`) counts first; its groups
    and splits are added to those of the bucket, before the audio is there; with `tags`, a file that is new and has no group is of the one
    that its artist or album tag names. A `label_set` is kept as the bucket's, which may have no
    other.

    Raises `BadInput`; see `find_audio`.
    """
    names = source.names()  # first: what is wrong with a folder is told without asking S3 for anything
    bucket = settings.raw_bucket
    store.ensure_buckets(bucket)
    kept = labels.read_kept(store, settings)
    if label_set is not None and kept is not None and kept.names != label_set.names:
        raise BadInput(
            f"s3://{bucket}/{keys.LABEL_SET} has other labels already ({', '.join(kept.names)}); change it with: "
            "genre-assets labels"
        )
    known = label_set or kept
    found = find_audio(
        source, known or labels.read(store, settings), closed=known is not None, limit=limit, names=names
    )
    there = {item.key: item for item in store.list(bucket)}
    new = {key: name for key, name in found.files.items() if key not in there}
    by_tags = _said_by_tags(source, new, found.groups) if tags else {}
    group_of = {**by_tags, **groups.read(store, settings), **found.groups}
    splits.check_groups(group_of, {**splits.read(store, settings), **found.splits})  # before anything is changed
    if label_set is not None and kept is None:
        labels.keep(store, settings, label_set)
    changed = groups.add(store, settings, found.groups)
    from_tags = groups.add_from_tags(store, settings, by_tags)
    stated = splits.add(store, settings, found.splits)
    uploaded = 0
    for done, (key, name) in enumerate(found.files.items(), start=1):
        if key in new or not source.is_same(name, there[key], store, bucket):
            source.send(name, store, bucket, key)
            uploaded += 1
        progress(done, len(found.files))
    unchanged = len(found.files) - uploaded
    return Uploaded(uploaded, unchanged, changed, from_tags, stated, found.left_out, found.missing, found.labels)


def _said_by_tags(source: Source, new: Mapping[str, PurePosixPath], stated: Mapping[str, str]) -> dict[str, str]:
    """Groups of the new files by their tags, where the source states none."""
    said = {key: groups.of_tags(source.tags(name)) for key, name in new.items() if key not in stated}
    return {key: group for key, group in said.items() if group}
