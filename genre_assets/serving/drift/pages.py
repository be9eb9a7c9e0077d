"""Keeps a window's report for people in the object store: `drift/<window>/report.json` and `report.html`."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.serving.drift import report, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.evaluate import References, sound_items
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Drawn:
    """Where a window's report for people is in the serving bucket, its plots as Markdown, and what could not be made."""

    key: str
    plots: dict[str, str]
    problems: tuple[str, ...]


def draw(database: Database, store: ObjectStore, settings: Settings, result: DriftResult) -> Drawn:
    """Make Evidently's page and the plots of one window (some ten seconds, mostly imports).

    The verdict is kept already and must stand, so whatever goes wrong in the drawing is named and not raised.
    """
    problems, made = [], {}
    try:
        made = plots(database, store, settings, result)
    except Exception as error:  # noqa: BLE001  # matplotlib raises what it likes
        problems.append(f"the plots could not be made: {type(error).__name__}: {error}")
    key, problem = write_page(database, store, settings, result)
    if problem:
        problems.append(f"the page could not be made: {problem}")
    return Drawn(key, made, tuple(problems))


def write_json(store: ObjectStore, settings: Settings, result: DriftResult) -> str:
    """Keep every number of the verdict; returns the key. Cheap: written for each window."""
    window = result.window
    store.write_json(
        settings.serving_bucket,
        keys.report(window.id, "json"),
        {
            "window": window.id,
            "route": window.epoch.route,
            "version": window.epoch.version,
            "opened_at": window.opened_at.isoformat(),
            "closed_at": window.closed_at.isoformat(),
            "closed_by": window.closed_by.value,
            "rows": window.rows,
            "items": window.items,
            "level": result.level,
            "reason": result.reason,
            "reference_version": result.reference_version,
            "findings": {name: finding.as_json() for name, finding in result.findings.items()},
        },
    )
    return keys.report(window.id, "json")


def plots(database: Database, store: ObjectStore, settings: Settings, result: DriftResult) -> dict[str, str]:
    """Small plots of a window as Markdown, by name: those that its findings allow."""
    recent = window_store.newest(database, 30)[::-1]
    history = [(j.window.epoch.route, j.level or Level.INCONCLUSIVE, _p_value(j)) for j in recent]
    found = {"alarm_history": report.alarm_history(history, settings.false_alarm_rate)}
    values = result.findings[Property.FEATURE_DRIFT].values
    if _compared(result):
        items = sound_items(window_store.rows(database, result.window))
        predicted = Counter(items["label"])
        found["drifted_features"] = report.ranked_features(values["features"])
        found["genre_mix"] = report.genre_mix(values["mix"], {g: n / len(items) for g, n in predicted.items()})
        own = References(store, settings).find(result.window.epoch.version)
        usual = own.reference.probabilities.max(axis=1) if own else None
        found["confidence"] = report.confidences(items["confidence"].to_numpy(np.float32), usual)
    return found


def write_page(database: Database, store: ObjectStore, settings: Settings, result: DriftResult) -> tuple[str, str]:
    """Make Evidently's page of one window if it was compared; returns the report's key, and why there is no page, or ""."""
    key, problem = keys.report(result.window.id, "json"), ""
    if _compared(result):
        try:
            html = _unhurried(lambda: _evidently(database, store, settings, result))
        except Exception as error:  # noqa: BLE001  # Evidently raises what it likes
            problem = f"{type(error).__name__}: {error}"
        else:
            key = keys.report(result.window.id, "html")
            store.put_bytes(settings.serving_bucket, key, html.encode(), "text/html")
    window_store.save_report(database, result.window.id, key)
    return key, problem


def _unhurried(work: Callable[[], str]) -> str:
    """Do the work in a thread of low priority (niceness is a thread's on Linux): the server and the next run go first."""
    with ThreadPoolExecutor(1, initializer=os.nice, initargs=(10,)) as thread:
        return thread.submit(work).result()


def _compared(result: DriftResult) -> bool:
    """Whether the window was compared with a reference, so that there is something to draw."""
    drawn = "features" in result.findings[Property.FEATURE_DRIFT].values
    return drawn and result.reference_version is not None


def _evidently(database: Database, store: ObjectStore, settings: Settings, result: DriftResult) -> str:
    values = result.findings[Property.FEATURE_DRIFT].values
    items = sound_items(window_store.rows(database, result.window))
    reference = References(store, settings).load(result.reference_version or 0).reference
    top = [f["name"] for f in values["features"][: report.EVIDENTLY_FEATURES]]
    columns = [reference.columns.index(name) for name in top]
    rows = np.array(items["features"].tolist(), np.float32)
    return report.evidently_page(top, report.reweighted(reference, values["mix"])[:, columns], rows[:, columns])


def _p_value(result: DriftResult) -> float | None:
    finding = result.findings.get(Property.FEATURE_DRIFT)
    value = finding.values.get("p_value") if finding else None
    return float(value) if value is not None else None
