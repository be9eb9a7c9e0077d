"""One check for each property of a window: the levels are the findings' own. Reported by `drift_reports` itself."""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from genre_assets.database import Database
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.evaluate import is_bad
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.window_store import DriftResult

ASSET = dg.AssetKey("drift_reports")
DESCRIPTIONS = {
    Property.FEATURE_DRIFT: "The features of answered items are those of the training data, at the window's genre mix.",
    Property.PREDICTION_MIX: "The labels answered are those that the model gives to this mix of genres.",
    Property.CONFIDENCE: "The model is as sure of its answers as on its training data, at the window's genre mix.",
    Property.ESTIMATED_ACCURACY: "The accuracy estimated from the probabilities is that of the training data.",
    Property.LABELLED_ACCURACY: "The accuracy on items whose labels have come is that of the training data.",
    Property.LATENCY: "Items take no longer than in earlier windows.",
    Property.DATA_QUALITY: "Few items fail, and all answered ones have finite features.",
}
SPECS: Sequence[dg.AssetCheckSpec] = [
    dg.AssetCheckSpec(name.value, asset=ASSET, description=DESCRIPTIONS[name]) for name in Property
]


def evaluations(database: Database, result: DriftResult | None) -> list[dg.AssetCheckEvaluation]:
    """Every check of a window (None: no window is evaluated yet, and nothing is wrong).

    It fails with ERROR when detected, with WARN when suspected or when it cannot be evaluated for a reason to be mended.
    """
    return [_evaluation(database, name, result) for name in Property]


def _evaluation(database: Database, name: Property, result: DriftResult | None) -> dg.AssetCheckEvaluation:
    if name is Property.LABELLED_ACCURACY:  # labels come late: the newest window that has some
        result = window_store.newest_with(database, name) or result
    finding = result.findings.get(name) if result else None
    if result is None or finding is None:
        return dg.AssetCheckEvaluation(
            asset_key=ASSET, check_name=name.value, passed=True, description="no window is complete yet"
        )
    level, values = finding.level, finding.values
    numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
    return dg.AssetCheckEvaluation(
        asset_key=ASSET,
        check_name=name.value,
        passed=not is_bad(level, values.get("cause")),
        severity=dg.AssetCheckSeverity.ERROR if level is Level.DETECTED else dg.AssetCheckSeverity.WARN,
        description=finding.headline,
        metadata={
            "level": level.value,
            "window": result.window.id,
            "closed_at": dg.MetadataValue.timestamp(result.window.closed_at),
            **numbers,
        },
    )


def results(selected: Collection[dg.AssetCheckKey], database: Database) -> Iterator[dg.AssetCheckResult]:
    """The newest window's checks, those that are selected, as what an asset returns."""
    if not selected:
        return
    for evaluation in evaluations(database, window_store.newest_one(database)):
        if evaluation.asset_check_key in selected:
            yield dg.AssetCheckResult(
                asset_key=evaluation.asset_key,
                check_name=evaluation.check_name,
                passed=evaluation.passed,
                severity=evaluation.severity,
                description=evaluation.description,
                metadata=evaluation.metadata,
            )
