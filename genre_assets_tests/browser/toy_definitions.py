"""Assets for the test of the catalog page: some are made, some never, with and without partitions."""

import dagster as dg

PARTITIONS = dg.StaticPartitionsDefinition(["blues", "rock"])


@dg.asset
def made() -> None:
    """Reported as materialised."""


@dg.asset
def never_made() -> None:
    """Not."""


@dg.asset(partitions_def=PARTITIONS)
def made_for_each() -> None:
    """Every partition is reported as materialised."""


@dg.asset(partitions_def=PARTITIONS)
def never_made_for_any() -> None:
    """None is."""


@dg.asset(partitions_def=PARTITIONS)
def made_for_one() -> None:
    """One of two is."""


defs = dg.Definitions([made, never_made, made_for_each, never_made_for_any, made_for_one])
