"""Labelled clips of clients become training data: each is copied under its label into the raw bucket, once.

From there the clip goes the way of all audio: sensor, inventory, features, retraining. Every copy is a row of the table
`training_clips`, written before the copy is made, so that a process that dies at any point leaves nothing that the next
one does not complete or remove. A corrected label moves the copy; a clip that people disagree on has none.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.audio import groups
from genre_assets.audio.tables import inventory
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.labels import LabelSet
from genre_assets.serving.feedback import agreement
from genre_assets.serving.feedback.agreement import LabelledClip
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore, parse_uri

NO_AUDIO = "the audio was not kept"
NO_ANSWER = "no answer to that item is in the log"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_LONGEST_VALUE = 300  # characters of one value of the object's metadata, of which S3 takes 2 KB in all

_Id = tuple[str, str]  # content hash, label

_RECORD = """
INSERT INTO training_clips (fingerprint, label, key, ours, request_id, item, problem) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (fingerprint, label) DO UPDATE SET key = excluded.key, ours = excluded.ours, problem = excluded.problem,
    request_id = excluded.request_id, item = excluded.item, done_at = NULL
"""
_UNDO = "UPDATE training_clips SET done_at = NULL, problem = NULL WHERE (fingerprint, label) = (%s, %s)"
_DONE = "UPDATE training_clips SET done_at = now(), problem = NULL WHERE (fingerprint, label) = (%s, %s)"
_PROBLEM = "UPDATE training_clips SET problem = %s WHERE (fingerprint, label) = (%s, %s)"
_FORGET = "DELETE FROM training_clips WHERE (fingerprint, label) = (%s, %s)"


@dataclass(frozen=True)
class Unused:
    """A label that brings no training data, and why."""

    request_id: str
    item: int
    label: str
    reason: str


@dataclass(frozen=True)
class Brought:
    """What was done now, and what the labels that bring nothing wait for.

    `copied` and `removed` count copies in the raw bucket, `there` labels of what had been in it under that label before;
    `stopped` says what ended the work before its end (the next run goes on).
    """

    copied: int = 0
    removed: int = 0
    there: int = 0
    unused: Sequence[Unused] = ()
    conflicts: Sequence[LabelledClip] = ()
    stopped: str = ""

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many labels are unused for each reason, the commonest first."""
        return dict(Counter(one.reason for one in self.unused).most_common())


@dataclass
class _Work:
    """What is to be done: copies to make and files that are there, with their key; what cannot be, and why; rows to remove."""

    make: dict[_Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    there: dict[_Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    refused: dict[_Id, tuple[LabelledClip, str]] = field(default_factory=dict)
    remove: list[_Id] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)  # of no content, or of no label


def bring(database: Database, store: ObjectStore, settings: Settings) -> Brought:
    """Make the copies in the raw bucket equal to what people agree on. Idempotent; does not raise when S3 is away."""
    clips = agreement.labelled_clips(database)
    conflicts = [clip for clip in clips if clip.label is None]
    if not clips and not database.rows("SELECT 1 FROM training_clips LIMIT 1"):
        return Brought()
    try:
        work, rows = _plan(database, store, settings, clips)
        return _carry_out(database, store, settings, work, rows, conflicts)
    except (GenreError, FileNotFoundError) as error:
        return Brought(conflicts=conflicts, stopped=str(error))


def interrupted(database: Database) -> bool:
    """Whether a process died over this work, or S3 went away: the next drift run completes it."""
    return bool(database.rows("SELECT 1 FROM training_clips WHERE done_at IS NULL AND problem IS NULL LIMIT 1"))


def brought_since(database: Database, since: datetime) -> int:
    """How many labelled clips of clients have been copied into the raw bucket since then."""
    found = database.rows("SELECT count(*) AS n FROM training_clips WHERE ours AND done_at >= %s", (since,))
    return int(found[0]["n"])


def _plan(
    database: Database, store: ObjectStore, settings: Settings, clips: Iterable[LabelledClip]
) -> tuple[_Work, dict[_Id, dict[str, object]]]:
    """What to do, and the rows that there are."""
    known = label_set.read(store, settings)
    rows = {(row["fingerprint"], row["label"]): row for row in database.rows("SELECT * FROM training_clips")}
    ours = {str(row["key"]) for row in rows.values() if row["ours"] and row["key"]}
    work = _Work()
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
    return work, rows


def _wanted(
    clips: Iterable[LabelledClip], known: LabelSet, work: _Work
) -> tuple[dict[_Id, LabelledClip], frozenset[str]]:
    """The clips that all agree on, by content and today's name of the label; the contents whose label is none any more."""
    wanted, nameless = {}, set()
    for clip in clips:
        if clip.label is None:
            continue
        label = known.find(clip.label)
        if label is None:
            nameless.add(clip.fingerprint)
            work.unused.append(_unused(clip, clip.label, f"{clip.label} is no label any more"))
        elif not clip.fingerprint:
            work.unused.append(_unused(clip, label, NO_ANSWER))
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
    store: ObjectStore, settings: Settings, known: LabelSet, id_: _Id, clip: LabelledClip,
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


def _carry_out(
    database: Database, store: ObjectStore, settings: Settings, work: _Work,
    rows: Mapping[_Id, Mapping[str, object]], conflicts: Sequence[LabelledClip],
) -> Brought:  # fmt: skip
    bucket = settings.raw_bucket
    for id_ in (*work.there, *work.refused):  # what a run made that was interrupted, and is not wanted now
        if id_ in rows and rows[id_]["ours"] and rows[id_]["key"]:
            store.delete(bucket, str(rows[id_]["key"]))
    _record(database, work)
    reached(Step.LABELS_INTENT)
    _add_groups(store, settings, work)
    reached(Step.LABELS_GROUPS)
    unused = [*work.unused, *(_unused(clip, id_[1], why) for id_, (clip, why) in work.refused.items())]
    copied = removed = 0
    for id_, (clip, key) in work.make.items():
        former = [
            f"s3://{bucket}/{row['key']}" for (content, _), row in rows.items() if content == id_[0] and row["key"]
        ]
        problem = _copy(store, settings, clip, id_, key, [clip.address, *former] if clip.address else former)
        if problem:
            database.execute(_PROBLEM, (problem, *id_))
            unused.append(_unused(clip, id_[1], problem))
            continue
        reached(Step.LABELS_COPY)
        database.execute(_DONE, id_)
        reached(Step.LABELS_DONE)
        copied += 1
    for id_ in work.remove:
        row = rows[id_]
        if row["ours"] and row["key"]:
            store.delete(bucket, str(row["key"]))
            reached(Step.LABELS_REMOVE)
            removed += row["done_at"] is not None
        database.execute(_FORGET, id_)
        reached(Step.LABELS_FORGET)
    return Brought(copied, removed, len(work.there), unused, conflicts)


def _unused(clip: LabelledClip, label: str, reason: str) -> Unused:
    return Unused(clip.request_id, clip.item, label, reason)


def _record(database: Database, work: _Work) -> None:
    """Write down what will be done, all at once."""
    with database.transaction() as cursor:
        cursor.executemany(_UNDO, work.remove)
        for id_, (clip, key) in {**work.make, **work.there}.items():
            cursor.execute(_RECORD, (*id_, key, id_ in work.make, clip.request_id, clip.item, None))
        for id_, (clip, reason) in work.refused.items():
            cursor.execute(_RECORD, (*id_, None, True, clip.request_id, clip.item, reason))
        cursor.executemany(_DONE, list(work.there))


def _add_groups(store: ObjectStore, settings: Settings, work: _Work) -> None:
    """A client's clips are one group, so that none of them is held out from a model that learned its neighbours.

    Without a tag nobody knows the client, and the recording is the group, as for all audio. What a person wrote into
    `groups.csv` stays.
    """
    wanted = {key: f"client {clip.tag}" for clip, key in work.make.values() if clip.tag}
    if wanted:
        there = groups.read(store, settings)
        groups.add(store, settings, {key: group for key, group in wanted.items() if key not in there})


def _copy(
    store: ObjectStore, settings: Settings, clip: LabelledClip, id_: _Id, key: str, sources: Sequence[str]
) -> str:
    """Make the copy if it is not there, from the first source that has the content; returns why it cannot be, or nothing."""
    if store.exists(settings.raw_bucket, key):
        return ""
    problems = []
    for source in sources:
        try:
            data = _content(store, source, settings.max_file_mb)
        except FileNotFoundError:
            problems.append(f"{source} is gone")
            continue
        except BadInput as error:
            problems.append(str(error))
            continue
        if hashlib.sha256(data).hexdigest() != id_[0]:
            problems.append(f"{source} holds another file now than was answered")
            continue
        store.put_bytes(settings.raw_bucket, key, data, metadata=_provenance(clip, id_[1], source))
        return ""
    return problems[0] if problems else NO_AUDIO


def _content(store: ObjectStore, address: str, most_mb: float) -> bytes:
    bucket, key = parse_uri(address)
    found = store.find(bucket, key)
    if found is None:
        raise FileNotFoundError(address)
    if found.size > most_mb * 1e6:
        raise BadInput(f"{address} has {found.size / 1e6:.1f} MB; {most_mb:g} MB are the most (GENRE_MAX_FILE_MB)")
    return store.get_bytes(bucket, key)


def _provenance(clip: LabelledClip, label: str, source: str) -> dict[str, str]:
    """Where a copy comes from, as metadata of the object; percent-encoded where it is not plain ASCII."""
    told = {
        "label": label,
        "request-id": clip.request_id,
        "item": str(clip.item),
        "labelled-by": ", ".join(clip.labels),
        "label-files": ", ".join(clip.files),
        "tag": clip.tag,
        "answered-at": clip.answered_at.isoformat() if clip.answered_at else "",
        "source": source,
    }
    return {
        name: quote(value[:_LONGEST_VALUE], safe=" ,:/@.+")[:_LONGEST_VALUE] for name, value in told.items() if value
    }
