"""Delayed labels: `labels/*.csv` (or `.json`) in the raw bucket, taken into the database once and joined to the windows.

A file may be corrected: it is taken again when its ETag changes, and one with a problem when the label set does. What it
said before counts no more then. A file that cannot be read is remembered with the reason and stops nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.labels import LabelSet
from genre_assets.serving.drift import answers, findings, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Cause, Finding, Property
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.feedback import agreement
from genre_assets.serving.feedback.label_lists import GivenLabel, read_labels
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore
from genre_assets.text import MOST_BYTES, visible

KINDS = (".csv", ".json")
_KEEP = """
INSERT INTO served_labels (request_id, item, labelled_by, genre, file, fingerprint, address, tag, answered_at)
SELECT %(request_id)s, %(item)s, %(labelled_by)s, %(label)s, %(file)s, known.fingerprint, known.address, known.tag,
    known.answered_at
FROM (VALUES (1)) AS one LEFT JOIN LATERAL (SELECT * FROM served_labels WHERE (request_id, item) = (%(request_id)s, %(item)s)
    AND fingerprint IS NOT NULL LIMIT 1) AS known ON true
ON CONFLICT (request_id, item, labelled_by) DO UPDATE SET genre = excluded.genre, file = excluded.file, taken_at = now()
"""  # what is known of the item already may be in the log no more
_GIVE_WAY = "DELETE FROM served_labels WHERE (request_id, item, labelled_by) = (%s, %s, %s)"
_FORGET = "DELETE FROM served_labels WHERE file = %s AND taken_at < now()"  # what the file said before, and not now
_KEEP_FILE = """
INSERT INTO label_files (key, etag, labels, problem) VALUES (%s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, labels = excluded.labels, problem = excluded.problem, taken_at = now()
"""
_JOIN = """
SELECT DISTINCT ON (r.fingerprint) r.fingerprint, r.label FROM served_requests AS r
JOIN served_labels AS l ON (l.request_id, l.item) = (r.request_id, r.item)
WHERE r.ts BETWEEN %s AND %s AND (r.route, r.version) = (%s, %s) AND r.error_code IS NULL
ORDER BY r.fingerprint, r.ts
"""
_IN_THE_LOG = "SELECT 1 FROM served_requests WHERE ts BETWEEN %s AND %s LIMIT 1"


@dataclass(frozen=True)
class Taken:
    """How many new labels; `problems` of the files that were new now, `left_out` of all that lie there, by key."""

    labels: int
    problems: dict[str, str]
    left_out: dict[str, str]


def take_new(database: Database, store: ObjectStore, settings: Settings) -> Taken:
    """Take the label files that are new or changed. No file, and no failed listing, stops the others or the caller."""
    total, problems, left_out = 0, {}, {}
    try:
        today = label_set.read(store, settings)
        listed = _listed(database, store, settings, today)
    except (GenreError, FileNotFoundError) as error:
        return Taken(0, {keys.LABEL_FILES: str(error)}, {keys.LABEL_FILES: str(error)})
    for entry, problem, new in listed:
        key = visible(entry.key)
        if new:
            try:
                data = _content(store, settings.raw_bucket, entry)
            except FileNotFoundError:
                continue  # removed since it was listed
            except GenreError as error:  # S3, not the file: asked for again next time
                problems[key] = left_out[key] = str(error)
                continue
            labels, problem = _read(data, key, today)
            with database.transaction() as cursor:
                if problem is None:
                    said = [asdict(one) | {"labelled_by": one.labelled_by or key, "file": key} for one in labels]
                    cursor.executemany(_KEEP, said)
                    of_before = [(one.request_id, one.item, agreement.UNKNOWN_PERSON) for one in labels]
                    cursor.executemany(_GIVE_WAY, of_before)
                    cursor.execute(_FORGET, (key,))
                cursor.execute(_KEEP_FILE, (key, _seen_as(entry, problem, today), len(labels), problem))
            total += len(labels)
            problems |= {key: problem} if problem else {}
        left_out |= {key: problem} if problem else {}
    agreement.find_answers(database)
    return Taken(total, problems, left_out)


def waiting(database: Database, store: ObjectStore, settings: Settings) -> str | None:
    """A name for the label files that are new or changed, the same for the same files; None if there are none.

    Raises `GenreError` or `FileNotFoundError` when the bucket cannot be listed.
    """
    new = [entry for entry, _, is_new in _listed(database, store, settings, label_set.read(store, settings)) if is_new]
    lines = "\n".join(f"{entry.key} {entry.etag}" for entry in new)
    return hashlib.sha256(lines.encode()).hexdigest()[:12] if new else None


def _listed(
    database: Database, store: ObjectStore, settings: Settings, today: LabelSet
) -> list[tuple[ObjectInfo, str | None, bool]]:
    """Each label file, what was wrong with it when it was taken last, and whether it is to be taken (again)."""
    rows = database.rows("SELECT key, etag, problem FROM label_files")
    known = {row["key"]: (row["etag"], row["problem"]) for row in rows}
    found = []
    for entry in store.list(settings.raw_bucket, keys.LABEL_FILES):
        if entry.size or entry.key.lower().endswith(KINDS):  # else the marker of a folder
            etag, problem = known.get(visible(entry.key), (None, None))
            found.append((entry, problem, etag != _seen_as(entry, problem, today)))
    return found


def _seen_as(entry: ObjectInfo, problem: str | None, today: LabelSet) -> str:
    """What is remembered of a file: one with a problem is looked at again when the label set is another."""
    return entry.etag if problem is None else f"{entry.etag} {today.version}"


def _content(store: ObjectStore, bucket: str, entry: ObjectInfo) -> bytes | str:
    """The bytes of the file, or why it is not even fetched."""
    if not entry.key.lower().endswith(KINDS):
        return f"{visible(entry.key)} is no {' or '.join(KINDS)} file"
    if entry.size > MOST_BYTES:
        size, most = entry.size / 1e6, MOST_BYTES / 1e6
        return f"{visible(entry.key)}: the file has {size:.1f} MB; {most:g} MB are the most"
    return store.get_bytes(bucket, entry.key)


def _read(data: bytes | str, name: str, known: LabelSet) -> tuple[list[GivenLabel], str | None]:
    """The labels of a file, or what is wrong with it."""
    if isinstance(data, str):
        return [], data
    try:
        return read_labels(data, name, known), None
    except BadInput as error:
        return [], str(error)


def update_windows(database: Database, windows: int = 200) -> list[str]:
    """State accuracy and G-mean of the evaluated windows for which labels came since; returns their names.

    What people disagree on counts nowhere; a window of which nothing else was labelled has no accuracy any more.
    """
    updated = []
    agreed = {clip.fingerprint: clip.label for clip in agreement.labelled_clips(database)}
    for result in window_store.newest(database, windows):
        window = result.window
        span = (window.opened_at, window.closed_at, window.epoch.route, window.epoch.version)
        answered = {row["fingerprint"]: row["label"] for row in database.rows(_JOIN, span) if row["label"]}
        pairs = [(label, said) for clip, said in answered.items() if (label := agreed.get(clip)) is not None]
        before = result.findings.get(Property.LABELLED_ACCURACY)
        if not pairs:
            if before is not None and before.level is not Level.INCONCLUSIVE and database.rows(_IN_THE_LOG, span[:2]):
                nothing = findings.inconclusive(Cause.NO_LABELS, "people disagree on all that was labelled")
                window_store.save_finding(database, window.id, Property.LABELLED_ACCURACY, nothing)
                updated.append(window.id)
            continue
        finding = _of_labels(pairs, result)
        if before is None or finding.values != before.values:
            window_store.save_finding(database, window.id, Property.LABELLED_ACCURACY, finding)
            updated.append(window.id)
    return updated


def _of_labels(pairs: Sequence[tuple[str, str]], result: DriftResult) -> Finding:
    """What labels say of the answers of a window, from pairs of both."""
    names = sorted({name for pair in pairs for name in pair})
    truth, answered = (np.array([names.index(pair[side]) for pair in pairs], np.intp) for side in (0, 1))
    estimate = result.findings.get(Property.ESTIMATED_ACCURACY)
    known = estimate.values if estimate and "accuracy" in estimate.values else None
    return answers.of_labels(truth, answered, known, result.window.items)
