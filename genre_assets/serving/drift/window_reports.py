"""Which windows Dagster has been told of, and how old the newest facts are. The windows themselves: `window_store`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from genre_assets.database import Database
from genre_assets.serving.drift.window_store import DriftResult, drift_results

REPORTING_LOCK = 20261128


def unreported(database: Database) -> list[DriftResult]:
    """Evaluated windows that Dagster has not been told of, oldest first."""
    return drift_results(
        database.rows(
            """SELECT * FROM drift_windows WHERE judged_at IS NOT NULL AND reported_at IS NULL
            ORDER BY closed_at, last_id"""
        )
    )


@contextmanager
def reporting(database: Database) -> Iterator[list[DriftResult]]:
    """The windows to report, oldest first; meanwhile nobody else reports any, so that each is reported once, in order."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (REPORTING_LOCK,))
        yield unreported(database)


def keep_reported(database: Database, window: str) -> None:
    """Remember that Dagster has been told of the window."""
    database.execute("UPDATE drift_windows SET reported_at = now() WHERE id = %s", (window,))


@dataclass(frozen=True)
class Freshness:
    """When the last item was answered, and since when what waits; None for what never was, or does not wait."""

    last_answer: datetime | None
    waiting_since: datetime | None  # the oldest window without a verdict, since it was cut
    unevaluated_since: datetime | None  # items that no verdict covers, since the last verdict, or the first item


def freshness(database: Database) -> Freshness:
    """How old the newest facts are."""
    found = database.rows(
        """SELECT (SELECT max(ts) FROM served_requests) AS last_answer,
        (SELECT min(cut_at) FROM drift_windows WHERE judged_at IS NULL) AS waiting_since,
        (SELECT min(ts) FROM served_requests WHERE ts > coalesce(
            (SELECT max(closed_at) FROM drift_windows WHERE level <> 'inconclusive'), '-infinity')) AS unevaluated_since"""
    )[0]
    return Freshness(found["last_answer"], found["waiting_since"], found["unevaluated_since"])
