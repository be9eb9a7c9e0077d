"""Delayed labels: `labels/*.csv` in the raw bucket, taken into the database once and joined to the windows.

A file may be corrected: it is taken again when its ETag changes. A file that cannot be read is remembered with the
reason and stops nothing.
"""

from dataclasses import dataclass

import numpy as np

from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.serving import prediction_log, window_store
from genre_assets.serving.drift import answers
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.review import read_labels
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

PREFIX = "labels/"
DDL = """
CREATE TABLE IF NOT EXISTS served_labels (
    request_id text NOT NULL,
    item int NOT NULL,
    genre text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, item)
);
CREATE TABLE IF NOT EXISTS label_files (
    key text PRIMARY KEY,
    etag text NOT NULL,
    labels int NOT NULL,
    problem text,
    taken_at timestamptz NOT NULL DEFAULT now()
);
"""
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
    """New files, and why some could not be read, by key."""

    labels: int
    problems: dict[str, str]


def take_new(database: Database, store: ObjectStore, settings: Settings) -> Taken:
    """Take the label files that are new or changed."""
    database.ensure(DDL)
    known = {row["key"]: row["etag"] for row in database.rows("SELECT key, etag FROM label_files")}
    total, problems = 0, {}
    for entry in store.list(settings.raw_bucket, PREFIX):
        if known.get(entry.key) == entry.etag:
            continue
        labels: list[tuple[str, int, str]] = []
        problem = None
        try:
            labels = read_labels(store.get_bytes(settings.raw_bucket, entry.key).decode("utf-8-sig"), entry.key)
        except (BadInput, UnicodeDecodeError) as error:
            problem = problems[entry.key] = str(error)
        with database.transaction() as cursor:
            cursor.executemany(_KEEP, labels)
            cursor.execute(_KEEP_FILE, (entry.key, entry.etag, len(labels), problem))
        total += len(labels)
    return Taken(total, problems)


def update_windows(database: Database, windows: int = 200) -> list[str]:
    """State accuracy and G-mean of the judged windows for which labels came since; returns their names."""
    database.ensure(DDL)
    database.ensure(prediction_log.DDL)
    updated = []
    for judged in window_store.newest(database, windows):
        window = judged.window
        span = (window.opened_at, window.closed_at, window.epoch.route, window.epoch.version)
        pairs = database.rows(_JOIN, span)
        before = judged.findings.get(Property.LABELLED_ACCURACY, {}).get("values", {})
        if not pairs:
            continue
        truth, answered = (np.array([GENRES.index(row[name]) for row in pairs], np.intp) for name in ("genre", "label"))
        estimate = judged.findings.get(Property.ESTIMATED_ACCURACY, {}).get("values", {})
        known = estimate if "accuracy" in estimate else None
        finding = answers.of_labels(truth, answered, known, window.items).as_json()
        if finding["values"] != before:
            window_store.keep_finding(database, window.id, Property.LABELLED_ACCURACY, finding)
            updated.append(window.id)
    return updated
