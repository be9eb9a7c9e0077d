"""What is to be done so that the raw bucket holds what people agree on: copies to make, rows to remove, what cannot be.

Reads the bucket and the inventories, changes nothing; `training_clips` carries it out.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.audio.tables import inventory
from genre_assets.labels import LabelSet
from genre_assets.serving.feedback.agreement import LabelledClip
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

NO_AUDIO = "the audio was not kept (GENRE_CAPTURE says what is)"
NO_ANSWER = "no answer to that item is in the log"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")

Id = tuple[str, str]
"""Content hash and label."""


@dataclass(frozen=True)
class Unused:
    """A label that brings no training data, and why."""

    request_id: str
    item: int
    label: str
    reason: str


@dataclass
class Work:
    """What is to be done: copies to make and files that are there, with their key; what cannot be, and why; rows to remove."""

    make: dict[Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    there: dict[Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    refused: dict[Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    remove: list[Id] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)  # of no content, or of no label


def plan(
    store: ObjectStore, settings: Settings, clips: Iterable[LabelledClip], rows: Mapping[Id, Mapping[str, Any]]
) -> Work:
    """What to do, given what people said and the rows of `training_clips`. Raises `GenreError` when S3 is away."""
    known = label_set.read(store, settings)
    ours = {str(row["key"]) for row in rows.values() if row["ours"] and row["key"]}
    work = Work()
    wanted, nameless = _wanted(clips, known, work)
    kept = {id_[0] for id_, row in rows.items() if row["ours"] and row["key"]}
    new = {id_: clip for id_, clip in wanted.items() if id_ not in rows or rows[id_]["done_at"] is None}
    for id_, clip in new.items():
        if not clip.address and id_[0] not in kept and id_ in rows and rows[id_]["problem"] == NO_AUDIO:
            work.refused[id_] = (clip, NO_AUDIO)  # as before: no need to look at the bucket again
    new = {id_: clip for id_, clip in new.items() if id_ not in work.refused}
    there = _contents(store, settings, ours) if new else {}
    for id_, clip in new.items():
        same, other = _in_the_bucket(store, settings, known, id_, clip, there, ours)
        if same:
            work.there[id_] = (clip, same)
        elif other:
            reason = f"the same content is in the raw bucket as {other}, which is another label's"
            work.refused[id_] = (clip, reason)
        elif not clip.address and id_[0] not in kept:
            work.refused[id_] = (clip, NO_AUDIO)
        else:
            work.make[id_] = (clip, keys.client_clip(id_[1], id_[0], _suffix(clip.address)))
    work.remove = [id_ for id_ in rows if id_ not in wanted and id_[0] not in nameless]
    return work


def _wanted(
    clips: Iterable[LabelledClip], known: LabelSet, work: Work
) -> tuple[dict[Id, LabelledClip], frozenset[str]]:
    """The clips that all agree on, by content and today's name of the label; the contents whose label is none any more."""
    wanted, nameless = {}, set()
    for clip in clips:
        if clip.label is None:
            continue
        label = known.find(clip.label)
        if label is None:
            nameless.add(clip.fingerprint)
            work.unused.append(unused_label(clip, clip.label, f"{clip.label} is no label any more"))
        elif not clip.fingerprint:
            work.unused.append(unused_label(clip, label, NO_ANSWER))
        else:
            wanted[clip.fingerprint, label] = clip
    return wanted, frozenset(nameless)


def _contents(store: ObjectStore, settings: Settings, ours: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """(label, key) of each file in the inventories, by its content hash; without our own copies."""
    table = inventory.read_all(store, settings)
    found: dict[str, list[tuple[str, str]]] = {}
    for fingerprint, label, key in zip(table["fingerprint"], table["genre"], table["key"], strict=True):
        if key not in ours:
            found.setdefault(fingerprint, []).append((label, key))
    return found


def _in_the_bucket(
    store: ObjectStore, settings: Settings, known: LabelSet, id_: Id, clip: LabelledClip,
    there: Mapping[str, Sequence[tuple[str, str]]], ours: Collection[str],
) -> tuple[str, str]:  # fmt: skip
    """Keys of the same content under its label and under another one, empty if there is none."""
    fingerprint, label = id_
    places = list(there.get(fingerprint, ()))
    bucket, _, key = clip.address.removeprefix("s3://").partition("/")
    folder = key.partition("/")[0]
    if bucket == settings.raw_bucket and folder in known.names and key not in ours:
        places.append((folder, key))
    # An inventory may be older than the bucket.
    found = {name: place for name, place in places if store.exists(settings.raw_bucket, place)}
    return found.get(label, ""), next((place for name, place in sorted(found.items()) if name != label), "")


def _suffix(address: str) -> str:
    suffix = PurePosixPath(address).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def unused_label(clip: LabelledClip, label: str, reason: str) -> Unused:
    """That this label of the clip brings nothing."""
    return Unused(clip.request_id, clip.item, label, reason)
