"""One check for each property of the newest windows, from one factory: the levels are the findings' own."""

import dagster as dg

from genre_assets.database import Database
from genre_assets.serving import window_store
from genre_assets.serving.drift.assets import drift_reports
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.verdict import Level
from genre_assets.serving.judge import is_bad

DESCRIPTIONS = {
    Property.FEATURE_DRIFT: "The features of answered items are those of the training data, at the window's genre mix.",
    Property.PREDICTION_MIX: "The labels answered are those that the model gives to this mix of genres.",
    Property.CONFIDENCE: "The model is as sure of its answers as on its training data, at the window's genre mix.",
    Property.ESTIMATED_ACCURACY: "The accuracy estimated from the probabilities is that of the training data.",
    Property.LABELLED_ACCURACY: "The accuracy on items whose labels have come is that of the training data.",
    Property.LATENCY: "Items take no longer than in earlier windows.",
    Property.DATA_QUALITY: "Few items fail, and all answered ones have finite features.",
}


def _check(name: Property) -> dg.AssetChecksDefinition:
    """The newest window's finding: fails with ERROR when detected, with WARN when suspected or not to be judged."""

    @dg.asset_check(asset=drift_reports, name=name.value, description=DESCRIPTIONS[name])
    def check(database: dg.ResourceParam[Database]) -> dg.AssetCheckResult:
        newest = next(iter(window_store.newest(database)), None)
        if name is Property.LABELLED_ACCURACY:  # labels come late: the newest window that has some
            newest = window_store.newest_with(database, name) or newest
        finding = newest.findings.get(name) if newest else None
        if newest is None or finding is None:
            return dg.AssetCheckResult(passed=True, description="no window is complete yet")
        level, values = Level(finding["level"]), finding["values"]
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        detected = level is Level.DETECTED
        return dg.AssetCheckResult(
            passed=not is_bad(level, values.get("cause")),
            severity=dg.AssetCheckSeverity.ERROR if detected else dg.AssetCheckSeverity.WARN,
            description=finding["headline"],
            metadata={
                "level": level.value,
                "window": newest.window.id,
                "closed_at": dg.MetadataValue.timestamp(newest.window.closed_at),
                "report": newest.report or "",
                **numbers,
            },
        )

    return check


CHECKS = [_check(name) for name in Property]
