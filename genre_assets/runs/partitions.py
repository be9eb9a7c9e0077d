"""The one partition set: the labels. Fan-out over files happens inside a partition, never as partitions.

The partitions are Dagster's dynamic ones, which follow the label set; the sensor on the raw bucket sees to that.
"""

from collections.abc import Sequence

import dagster as dg

from genre_assets.labels import PARTITIONS, difference

label_partitions = dg.DynamicPartitionsDefinition(name=PARTITIONS)

Change = dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest


def changes(there: Sequence[str], labels: Sequence[str]) -> list[Change]:
    """What makes the partitions those of the label set, in its order: a range of them is a range of labels."""
    gone, new = difference(there, labels)
    return [
        *([label_partitions.build_delete_request(gone)] if gone else []),
        *([label_partitions.build_add_request(new)] if new else []),
    ]
