"""The one partition set: the ten genres. Fan-out over files happens inside a partition, never as partitions."""

import dagster as dg

from genre_assets.genres import GENRES

genre_partitions = dg.StaticPartitionsDefinition(list(GENRES))
