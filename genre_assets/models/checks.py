"""Checks of the models stage, one property each. The first is blocking: nothing is tuned on a leaking split."""

import dataclasses

import dagster as dg

from genre_assets.models.data import quality, training_store
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.selection.fallback import Heard, fails_alike, objection_to
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

TRAINING_SET = dg.AssetKey("training_set")
CHAMPION_MODELS = dg.AssetKey("champion_models")


@dg.asset_check(asset=TRAINING_SET, blocking=True)
def nothing_leaks_across_splits(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No group, recording, file or near-duplicate row stands in two splits."""
    return quality.no_leakage(training_store.read(store, settings)).result()


@dg.asset_check(asset=TRAINING_SET, blocking=True)
def features_are_as_the_extractor_makes_them(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """The columns are those of the feature set, in order, 32-bit and finite."""
    return quality.feature_schema(training_store.read(store, settings)).result()


@dg.asset_check(asset=TRAINING_SET)
def classes_are_balanced(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No genre has more than five times the recordings of another (a warning: imbalance is handled in training)."""
    return quality.class_balance(training_store.read(store, settings)).result(warn=True)


@dg.asset_check(asset=TRAINING_SET)
def every_genre_is_held_out(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Every genre has training and held-out recordings (a warning: the figures say nothing about a genre without)."""
    return quality.every_genre_in_every_part(training_store.read(store, settings)).result(warn=True)


@dg.asset_check(asset=TRAINING_SET)
def no_column_is_constant(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Every feature varies over the training rows (a warning: a constant one carries nothing)."""
    return quality.constant_columns(training_store.read(store, settings)).result(warn=True)


@dg.asset_check(asset=CHAMPION_MODELS, blocking=True)
def fallback_is_another_family(registry: dg.ResourceParam[ModelRegistry]) -> dg.AssetCheckResult:
    """A fallback is of another family than the champion, and no mixture that contains it: one that fails alike is none."""
    champion, fallback = registry.version("champion"), registry.version("fallback")
    families = {
        "champion": champion.family if champion else "none",
        "fallback": fallback.family if fallback else "none",
    }
    alike = champion is not None and fallback is not None and fails_alike(fallback.family, champion.family)
    said = f"the champion is of the family {families['champion']}, the fallback of {families['fallback']}"
    return dg.AssetCheckResult(
        passed=champion is not None and not alike,
        description=said if champion else "there is no champion: materialise champion_models",
        metadata=families,
    )


@dg.asset_check(asset=CHAMPION_MODELS)
def there_is_a_fallback(
    settings: dg.ResourceParam[Settings], registry: dg.ResourceParam[ModelRegistry]
) -> dg.AssetCheckResult:
    """A model may stand in for the champion when audio drifts: it is surely better than chance on perturbed audio.

    Without one the champion serves on, whatever drifts; drift then alerts and asks for retraining.
    """
    champion, fallback = registry.version("champion"), registry.version("fallback")
    versions = {
        "champion": champion.version if champion else "none",
        "fallback": fallback.version if fallback else "none",
    }
    if champion is None or fallback is None:
        last = registry.last_move("fallback")
        return dg.AssetCheckResult(
            passed=False, description=last.reason if last else "nothing was chosen yet", metadata=versions
        )
    why = objection_to(fallback, champion, settings.fallback_floor)
    heard = Heard.from_tags(fallback)
    said = f"version {fallback.version} ({fallback.family}): " + (
        why or f"balanced accuracy on perturbed audio {heard}"
    )
    known = dataclasses.asdict(heard) if heard is not None else {}
    return dg.AssetCheckResult(passed=why is None, description=said, metadata={**versions, **known})


@dg.asset_check(asset=CHAMPION_MODELS)
def champion_beats_chance(registry: dg.ResourceParam[ModelRegistry]) -> dg.AssetCheckResult:
    """The champion's balanced accuracy in cross-validation is surely above that of guessing (a warning)."""
    champion = registry.version("champion")
    metrics = champion.metrics if champion else {}
    low = metrics.get("cross_validation_balanced_accuracy_low", 0.0)
    # The labels of a manifest are all that the platform knows; a guess is as good as the labels that had recordings.
    trained_on = sum(name.startswith("cross_validation_recall_") for name in metrics)
    chance = 1 / max(trained_on, 1)
    said = (
        f"balanced accuracy is at least {low:.3f}; that of guessing, chance, is {chance:.3f} among {trained_on} genres"
    )
    return dg.AssetCheckResult(
        passed=low > chance,
        severity=dg.AssetCheckSeverity.WARN,
        description=said if champion else "there is no champion: materialise champion_models",
        metadata={"balanced accuracy, lower end": low, "chance": chance},
    )


CHECKS = [
    nothing_leaks_across_splits,
    features_are_as_the_extractor_makes_them,
    classes_are_balanced,
    every_genre_is_held_out,
    no_column_is_constant,
    fallback_is_another_family,
    there_is_a_fallback,
    champion_beats_chance,
]
