"""Keeps a window's report for people in the object store: `drift/<window>/report.json` and `report.html`."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.serving import window_store
from genre_assets.serving.drift import report
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.verdict import Level
from genre_assets.serving.judge import References, sound_items
from genre_assets.serving.window_store import Judgement
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Page:
    """Where the page of a window is, its plots as Markdown by name, and why it could not be made, if so."""

    key: str
    plots: dict[str, str]
    problem: str = ""


def write_json(store: ObjectStore, settings: Settings, judged: Judgement) -> str:
    """Keep every number of the verdict; returns the key. Cheap: written for each window."""
    key = f"drift/{judged.window.id}/report.json"
    window = judged.window
    store.write_json(
        settings.serving_bucket,
        key,
        {
            "window": window.id,
            "route": window.epoch.route,
            "version": window.epoch.version,
            "opened_at": window.opened_at.isoformat(),
            "closed_at": window.closed_at.isoformat(),
            "closed_by": window.closed_by.value,
            "rows": window.rows,
            "items": window.items,
            "level": judged.level,
            "reason": judged.reason,
            "reference_version": judged.reference_version,
            "findings": judged.findings,
        },
    )
    return key


def write_page(database: Database, store: ObjectStore, settings: Settings, judged: Judgement) -> Page:
    """Make the plots and Evidently's page of one window (some ten seconds, mostly Evidently's import).

    The verdict is kept already and must stand, so whatever goes wrong in the drawing is told and not raised.
    """
    try:
        return _draw(database, store, settings, judged)
    except Exception as problem:  # noqa: BLE001  # Evidently and matplotlib raise what they like
        return Page(f"drift/{judged.window.id}/report.json", {}, f"{type(problem).__name__}: {problem}")


def _draw(database: Database, store: ObjectStore, settings: Settings, judged: Judgement) -> Page:
    values = judged.findings[Property.FEATURE_DRIFT]["values"]
    key = f"drift/{judged.window.id}/report.json"
    recent = window_store.newest(database, 30)[::-1]
    history = [(j.window.epoch.route, j.level or Level.INCONCLUSIVE, _p_value(j)) for j in recent]
    plots = {"alarm_history": report.alarm_history(history, settings.false_alarm_rate)}
    if "features" in values and judged.reference_version is not None:
        items = sound_items(window_store.rows(database, judged.window))
        predicted = Counter(items["label"])
        plots["drifted_features"] = report.ranked_features(values["features"])
        plots["genre_mix"] = report.genre_mix(values["mix"], {g: predicted[g] / len(items) for g in GENRES})
        references = References(store, settings)
        reference = references.load(judged.reference_version).reference
        own = references.find(judged.window.epoch.version)
        usual = own.reference.probabilities.max(axis=1) if own else None
        plots["confidence"] = report.confidences(items["confidence"].to_numpy(np.float32), usual)
        top = [f["name"] for f in values["features"][: report.EVIDENTLY_FEATURES]]
        columns = [reference.columns.index(name) for name in top]
        rows = np.array(items["features"].tolist(), np.float32)
        html = report.evidently_page(top, report.reweighted(reference, values["mix"])[:, columns], rows[:, columns])
        key = f"drift/{judged.window.id}/report.html"
        store.put_bytes(settings.serving_bucket, key, html.encode(), "text/html")
    window_store.keep_report(database, judged.window.id, key)
    return Page(key, plots)


def _p_value(judged: Judgement) -> float | None:
    value = judged.findings.get(Property.FEATURE_DRIFT, {}).get("values", {}).get("p_value")
    return float(value) if value is not None else None
