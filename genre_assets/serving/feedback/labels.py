"""Delayed labels: `labels/*.csv` in the raw bucket, taken into the database once and joined to the windows.

A file may be corrected: it is taken again when its ETag changes, and one with a problem when the label set does. A file that cannot be read is remembered with the
reason and stops nothing.
"""

from dataclasses import dataclass

import numpy as np

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.labels import LabelSet
from genre_assets.serving.drift import answers, window_store
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.feedback.review import read_labels
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore
from genre_assets.text import MOST_BYTES, visible

_KEEP = """
INSERT INTO served_labels (request_id, item, genre) VALUES (%s, %s, %s)
ON CONFLICT (request_id, item) DO UPDATE SET genre = excluded.genre, taken_at = now()
"""
_KEEP_FILE = """
INSERT INTO label_files (key, etag, labels, problem) VALUES (%s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, labels = excluded.labels, problem = excluded.problem, taken_at = now()
"""
_JOIN = """
SELECT DISTINCT ON (r.fingerprint) r.label, l.genre FROM served_requests r
JOIN served_labels l ON (l.request_id, l.item) = (r.request_id, r.item)
WHERE r.ts BETWEEN %s AND %s AND (r.route, r.version) = (%s, %s) AND r.error_code IS NULL
ORDER BY r.fingerprint, r.ts
"""


@dataclass(frozen=True)
class Taken:
    """How many new labels; `problems` of the files that were new now, `left_out` of all that lie there, by key."""

    labels: int
    problems: dict[str, str]
    left_out: dict[str, str]


def take_new(database: Database, store: ObjectStore, settings: Settings) -> Taken:
    """Take the label files that are new or changed. No file, and no failed listing, stops the others or the caller."""
    rows = database.rows("SELECT key, etag, problem FROM label_files")
    known = {row["key"]: (row["etag"], row["problem"]) for row in rows}
    total, problems, left_out = 0, {}, {}
    try:
        listed = list(store.list(settings.raw_bucket, keys.LABEL_FILES))
        today = label_set.read(store, settings)
    except (GenreError, FileNotFoundError) as error:
        return Taken(0, {keys.LABEL_FILES: str(error)}, {keys.LABEL_FILES: str(error)})
    for entry in (e for e in listed if e.size or e.key.lower().endswith(".csv")):  # else the marker of a folder
        key = visible(entry.key)
        etag, problem = known.get(key, (None, None))
        if etag != _seen_as(entry, problem, today):
            try:
                data = _content(store, settings.raw_bucket, entry)
            except FileNotFoundError:
                continue  # removed since it was listed
            except GenreError as error:  # S3, not the file: asked for again next time
                problems[key] = left_out[key] = str(error)
                continue
            labels, problem = _read(data, key, today)
            with database.transaction() as cursor:
                cursor.executemany(_KEEP, labels)
                cursor.execute(_KEEP_FILE, (key, _seen_as(entry, problem, today), len(labels), problem))
            total += len(labels)
            problems |= {key: problem} if problem else {}
        left_out |= {key: problem} if problem else {}
    return Taken(total, problems, left_out)


def _seen_as(entry: ObjectInfo, problem: str | None, today: LabelSet) -> str:
    """What is remembered of a file: one with a problem is looked at again when the label set is another."""
    return entry.etag if problem is None else f"{entry.etag} {today.version}"


def _content(store: ObjectStore, bucket: str, entry: ObjectInfo) -> bytes | str:
    """The bytes of the file, or why it is not even fetched."""
    if not entry.key.lower().endswith(".csv"):
        return f"{visible(entry.key)} is no .csv file"
    if entry.size > MOST_BYTES:
        size, most = entry.size / 1e6, MOST_BYTES / 1e6
        return f"{visible(entry.key)}: the file has {size:.1f} MB; {most:g} MB are the most"
    return store.get_bytes(bucket, entry.key)


def _read(data: bytes | str, name: str, known: LabelSet) -> tuple[list[tuple[str, int, str]], str | None]:
    """The labels of a file, or what is wrong with it."""
    if isinstance(data, str):
        return [], data
    try:
        return read_labels(data, name, known), None
    except BadInput as error:
        return [], str(error)


def update_windows(database: Database, windows: int = 200) -> list[str]:
    """State accuracy and G-mean of the judged windows for which labels came since; returns their names."""
    updated = []
    for judged in window_store.newest(database, windows):
        window = judged.window
        span = (window.opened_at, window.closed_at, window.epoch.route, window.epoch.version)
        pairs = [row for row in database.rows(_JOIN, span) if row["label"] and row["genre"]]
        before = judged.findings.get(Property.LABELLED_ACCURACY)
        if not pairs:
            continue
        names = sorted({row[name] for row in pairs for name in ("genre", "label")})
        truth, answered = (np.array([names.index(row[name]) for row in pairs], np.intp) for name in ("genre", "label"))
        estimate = judged.findings.get(Property.ESTIMATED_ACCURACY)
        known = estimate.values if estimate and "accuracy" in estimate.values else None
        finding = answers.of_labels(truth, answered, known, window.items)
        if before is None or finding.values != before.values:
            window_store.save_finding(database, window.id, Property.LABELLED_ACCURACY, finding)
            updated.append(window.id)
    return updated
