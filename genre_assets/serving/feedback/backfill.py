"""Past windows again: cut what was never cut, and evaluate anew, with today's tests and references.

A window keeps its identity. Verdicts on windows since the last move of the route count for the next one as they are
now; older ones were acted on and move nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from genre_assets.database import Database
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift import pages as drift_pages
from genre_assets.serving.drift.evaluate import References
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.feedback import labels, training_clips
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Backfilled:
    """Windows cut and evaluated, and those whose level is another than before, (id, before, after)."""

    cut: int
    evaluated: int
    changed: tuple[tuple[str, str, str], ...]


def backfill(
    database: Database,
    store: ObjectStore,
    settings: Settings,
    *,
    since: datetime | None = None,
    pages: bool = False,
    on_window: Callable[[DriftResult], None] = lambda _: None,
) -> Backfilled:
    """Evaluate every window that closed since then (all, if not given), oldest first; repeatable, safe to interrupt.

    Parameters
    ----------
    database, store, settings
        The platform's own.
    since
        Windows that closed earlier are left as they are.
    pages
        Make the page for people of each window too (some three seconds each).
    on_window
        Told of each window, for progress.
    """
    cut = window_store.cut(database, Rules.from_settings(settings))
    references = References(store, settings)
    evaluated, changed = 0, []
    for before in window_store.every(database, since=since):
        after = evaluate.evaluate(database, references, settings, before.window, again=True)
        drift_pages.write_json(store, settings, after)
        if pages:
            drift_pages.write_page(database, store, settings, after)
        evaluated += 1
        if before.level is not None and before.level is not after.level:
            changed.append((before.window.id, str(before.level), str(after.level)))
        on_window(after)
    labels.take_new(database, store, settings)
    labels.update_windows(database, windows=max(evaluated, 1))
    training_clips.bring(database, store, settings)
    return Backfilled(len(cut), evaluated, tuple(changed))
