"""Labelled clips of clients become training data: each is copied under its label into the raw bucket, once.

From there the clip goes the way of all audio: sensor, inventory, features, retraining. Every copy is a row of the table
`training_clips`, written before the copy is made, so that a process that dies at any point leaves nothing that the next
one does not complete or remove. A corrected label moves the copy; a clip that people disagree on has none.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from genre_assets.audio import groups
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.serving.feedback import agreement
from genre_assets.serving.feedback.agreement import LabelledClip
from genre_assets.serving.feedback.training_plan import NO_AUDIO, Id, Unused, Work, plan, unused_label
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore, parse_uri

_LONGEST_VALUE = 300  # characters of one value of the object's metadata, of which S3 takes 2 KB in all

_RECORD = """
INSERT INTO training_clips (fingerprint, label, key, ours, request_id, item, problem) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (fingerprint, label) DO UPDATE SET key = excluded.key, ours = excluded.ours, problem = excluded.problem,
    request_id = excluded.request_id, item = excluded.item, done_at = NULL
"""
_UNDO = "UPDATE training_clips SET done_at = NULL, problem = NULL WHERE (fingerprint, label) = (%s, %s)"
_DONE = "UPDATE training_clips SET done_at = now(), problem = NULL WHERE (fingerprint, label) = (%s, %s)"
_PROBLEM = "UPDATE training_clips SET problem = %s WHERE (fingerprint, label) = (%s, %s)"
_BROUGHT = """
SELECT count(*) AS n FROM training_clips WHERE ours
AND done_at > coalesce((SELECT max(at) FROM audit WHERE subject = 'champion'), '-infinity')
"""
_FORGET = "DELETE FROM training_clips WHERE (fingerprint, label) = (%s, %s)"


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


def bring(database: Database, store: ObjectStore, settings: Settings) -> Brought:
    """Make the copies in the raw bucket equal to what people agree on. Idempotent; does not raise when S3 is away."""
    clips = agreement.labelled_clips(database)
    conflicts = [clip for clip in clips if clip.label is None]
    if not clips and not database.rows("SELECT 1 FROM training_clips LIMIT 1"):
        return Brought()
    try:
        rows = {(row["fingerprint"], row["label"]): row for row in database.rows("SELECT * FROM training_clips")}
        work = plan(store, settings, clips, rows)
        return _carry_out(database, store, settings, work, rows, conflicts)
    except (GenreError, FileNotFoundError) as error:
        return Brought(conflicts=conflicts, stopped=str(error))


def interrupted(database: Database) -> bool:
    """Whether a process died over this work, or S3 went away: the next drift run completes it."""
    return bool(database.rows("SELECT 1 FROM training_clips WHERE done_at IS NULL AND problem IS NULL LIMIT 1"))


def brought_since_the_champion(database: Database) -> int:
    """How many labelled clips of clients have been copied into the raw bucket since the last champion was chosen."""
    return int(database.rows(_BROUGHT)[0]["n"])


def _carry_out(
    database: Database, store: ObjectStore, settings: Settings, work: Work,
    rows: Mapping[Id, Mapping[str, object]], conflicts: Sequence[LabelledClip],
) -> Brought:  # fmt: skip
    bucket = settings.raw_bucket
    for id_ in (*work.there, *work.refused):  # what a run made that was interrupted, and is not wanted now
        if id_ in rows and rows[id_]["ours"] and rows[id_]["key"]:
            store.delete(bucket, str(rows[id_]["key"]))
    _record(database, work)
    reached(Step.LABELS_INTENT)
    _add_groups(store, settings, work)
    reached(Step.LABELS_GROUPS)
    unused = [*work.unused, *(unused_label(clip, id_[1], why) for id_, (clip, why) in work.refused.items())]
    copied = removed = 0
    for id_, (clip, key) in work.make.items():
        former = [
            f"s3://{bucket}/{row['key']}" for (content, _), row in rows.items() if content == id_[0] and row["key"]
        ]
        problem = _copy(store, settings, clip, id_, key, [clip.address, *former] if clip.address else former)
        if problem:
            database.execute(_PROBLEM, (problem, *id_))
            unused.append(unused_label(clip, id_[1], problem))
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


def _record(database: Database, work: Work) -> None:
    """Write down what will be done, all at once."""
    with database.transaction() as cursor:
        cursor.executemany(_UNDO, work.remove)
        for id_, (clip, key) in {**work.make, **work.there}.items():
            cursor.execute(_RECORD, (*id_, key, id_ in work.make, clip.request_id, clip.item, None))
        for id_, (clip, reason) in work.refused.items():
            cursor.execute(_RECORD, (*id_, None, True, clip.request_id, clip.item, reason))
        cursor.executemany(_DONE, list(work.there))


def _add_groups(store: ObjectStore, settings: Settings, work: Work) -> None:
    """A client's clips are one group, so that none of them is held out from a model that learned its neighbours.

    Without a tag nobody knows the client, and the recording is the group, as for all audio. What a person wrote into
    `groups.csv` stays.
    """
    wanted = {key: f"client {clip.tag}" for clip, key in work.make.values() if clip.tag}
    if wanted:
        there = groups.read(store, settings)
        groups.add(store, settings, {key: group for key, group in wanted.items() if key not in there})


def _copy(store: ObjectStore, settings: Settings, clip: LabelledClip, id_: Id, key: str, sources: Sequence[str]) -> str:
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
