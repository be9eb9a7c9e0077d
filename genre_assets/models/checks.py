"""Checks of the models stage, one property each. The first is blocking: nothing is tuned on a leaking split."""

import dagster as dg

from genre_assets.genres import GENRES
from genre_assets.models import quality, stored
from genre_assets.models.quality import Finding
from genre_assets.models.registry import ModelRegistry
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

TRAINING_SET = dg.AssetKey("training_set")
CHAMPION_MODELS = dg.AssetKey("champion_models")


def _result(finding: Finding, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.sound, severity=severity, description=finding.text, metadata=dict(finding.figures)
    )


@dg.asset_check(asset=TRAINING_SET, blocking=True)
def nothing_leaks_across_splits(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No group, recording, file or near-duplicate row stands in two splits."""
    return _result(quality.no_leakage(stored.read(store, settings)))


@dg.asset_check(asset=TRAINING_SET, blocking=True)
def features_are_as_the_extractor_makes_them(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """The columns are those of the feature set, in order, 32-bit and finite."""
    return _result(quality.feature_schema(stored.read(store, settings)))


@dg.asset_check(asset=TRAINING_SET)
def classes_are_balanced(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No genre has more than five times the recordings of another (a warning: imbalance is handled in training)."""
    return _result(quality.class_balance(stored.read(store, settings)), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=TRAINING_SET)
def every_genre_is_held_out(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Every genre has training and held-out recordings (a warning: the figures say nothing about a genre without)."""
    return _result(quality.every_genre_in_every_part(stored.read(store, settings)), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=TRAINING_SET)
def no_column_is_constant(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Every feature varies over the training rows (a warning: a constant one carries nothing)."""
    return _result(quality.constant_columns(stored.read(store, settings)), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=CHAMPION_MODELS, blocking=True)
def fallback_is_another_family(registry: dg.ResourceParam[ModelRegistry]) -> dg.AssetCheckResult:
    """Champion and fallback are of different families: a fallback that fails alike is none."""
    champion, fallback = registry.version("champion"), registry.version("fallback")
    families = {
        "champion": champion.family if champion else "none",
        "fallback": fallback.family if fallback else "none",
    }
    sound = champion is not None and fallback is not None and champion.family != fallback.family
    return dg.AssetCheckResult(passed=sound, metadata=families)


@dg.asset_check(asset=CHAMPION_MODELS)
def champion_beats_chance(registry: dg.ResourceParam[ModelRegistry]) -> dg.AssetCheckResult:
    """The champion's balanced accuracy in cross-validation is surely above that of guessing (a warning)."""
    champion = registry.version("champion")
    low = champion.metrics.get("cross_validation_balanced_accuracy_low", 0.0) if champion else 0.0
    chance = 1 / len(GENRES)
    return dg.AssetCheckResult(
        passed=low > chance,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"balanced accuracy, lower end": low, "chance": chance},
    )


CHECKS = [
    nothing_leaks_across_splits,
    features_are_as_the_extractor_makes_them,
    classes_are_balanced,
    every_genre_is_held_out,
    no_column_is_constant,
    fallback_is_another_family,
    champion_beats_chance,
]
