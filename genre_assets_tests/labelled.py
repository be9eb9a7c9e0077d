"""The ten genres as the label set of a test's bucket, and as the partitions of its Dagster instance."""

import dagster as dg

from genre_assets import labels
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

TEN = labels.of_names(GENRES)


def keep_ten(store: ObjectStore, settings: Settings) -> None:
    """Keep the ten genres as the bucket's label set."""
    labels.keep(store, settings, TEN)


def add_ten(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Make the ten genres the partitions, as the sensor on the raw bucket does; returns the instance."""
    instance.add_dynamic_partitions(labels.PARTITIONS, list(GENRES))
    return instance
