"""Checks on the audio stage: one property each, metadata on pass and on fail."""

from typing import Any

import dagster as dg

from genre_assets import labels
from genre_assets.audio import assets
from genre_assets.audio.extract import feature_set_named
from genre_assets.audio.tables import features as feature_tables
from genre_assets.audio.tables import inventory, properties
from genre_assets.runs import pools
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def _feature_tables(store: ObjectStore, settings: Settings) -> dict[str, Any]:
    """The stored feature tables by genre; those never made are left out."""
    made = [
        genre
        for genre in labels.names(store, settings)
        if feature_tables.read_manifest(store, settings, genre) is not None
    ]
    return {genre: feature_tables.read(store, settings, genre) for genre in made}


@dg.asset_check(asset=assets.raw_audio)
def quarantine_share(settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]) -> dg.AssetCheckResult:
    """The share of files in quarantine is not above GENRE_QUARANTINE_WARN_SHARE."""
    files = inventory.read_all(store, settings)
    quarantine = inventory.read_all(store, settings, quarantine=True)
    found = properties.quarantine_share(files, quarantine, settings.quarantine_warn_share)
    return found.result(warn=True)


@dg.asset_check(asset=assets.raw_audio)
def every_folder_is_a_label(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No file of the raw bucket lies outside of the labels' folders (a warning, with the command that adds a label)."""
    unknown = inventory.read(store, settings, labels.UNKNOWN, quarantine=True)
    return properties.every_folder_is_a_label(unknown).result(warn=True)


@dg.asset_check(asset=assets.raw_audio)
def no_conflicting_labels(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No recording is labelled with two genres (such files are in quarantine; a person has to decide)."""
    return properties.no_conflicting_labels(inventory.read_all(store, settings)).result(warn=True)


@dg.asset_check(asset=assets.features, blocking=True)
def features_are_finite(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """No feature is infinite or not a number."""
    columns = feature_set_named(settings.feature_set).columns
    found = properties.finite(_feature_tables(store, settings), columns)
    return found.result()


@dg.asset_check(asset=assets.features, blocking=True)
def features_have_their_schema(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """Every genre's table has the columns and types of its feature set, in order, even if it is empty."""
    expected = feature_tables.empty_table(feature_set_named(settings.feature_set)).dtypes
    found = properties.schema(_feature_tables(store, settings), expected)
    return found.result()


# In the pool, so that nobody can ask for it alone while a run is between the one table and the other.
@dg.asset_check(asset=assets.features, blocking=True, pool=pools.AUDIO)
def features_match_the_inventory(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.AssetCheckResult:
    """The files in the feature tables are the usable files of the inventory: none missing, none stale, none twice.

    A file that was deleted or overwritten after it was inventoried is no fault: its genre is asked for again.
    """
    tables = _feature_tables(store, settings)
    manifests = [made for genre in tables if (made := feature_tables.read_manifest(store, settings, genre))]
    left_out = {fingerprint for manifest in manifests for fingerprint in manifest.left_out}
    gone = {key for manifest in manifests for key in manifest.gone}
    found = properties.same_files(tables, inventory.read_all(store, settings), left_out, gone)
    return found.result()


CHECKS: list[dg.AssetChecksDefinition] = [
    quarantine_share,
    every_folder_is_a_label,
    no_conflicting_labels,
    features_are_finite,
    features_have_their_schema,
    features_match_the_inventory,
]
