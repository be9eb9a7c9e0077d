"""Ready feature tables that were ingested: kept in the features bucket, they stand in for the features of audio.

`genre-assets ingest --table` puts them there. The setting `GENRE_FEATURE_TABLES`, which names files by their addresses,
counts before them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets import keys, labels
from genre_assets.audio.extract import feature_set_named
from genre_assets.errors import BadInput
from genre_assets.labels import LabelSet
from genre_assets.models.data import tables
from genre_assets.models.data.split import TRAIN
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ready:
    """Which tables there are: the feature set of their columns, and the key of each split's; "" is of rows that say it."""

    feature_set: str
    tables: Mapping[str, str]


def ingest(store: ObjectStore, settings: Settings, files: Mapping[str, Path], feature_set: str) -> "pd.DataFrame":
    """Check the tables and keep them, in place of those of before; returns their rows, as `tables.read_tables` does.

    While the bucket's label set is open, the tables' labels become it.

    Parameters
    ----------
    files : split -> file. The table of `train` alone may say the splits of its rows itself.

    Raises `BadInput` for a table that cannot be used; nothing is kept then.
    """
    store.ensure_buckets(settings.raw_bucket, settings.features_bucket)
    known = labels.read_kept(store, settings)
    columns = feature_set_named(feature_set).columns
    alone = list(files) == [TRAIN]
    frames = {"" if alone else split: tables.read_file(file, columns, known) for split, file in files.items()}
    rows = tables.joined(frames.items())
    kept = {}
    for split, frame in frames.items():
        kept[split] = keys.ready_table(feature_set, split or "rows")
        store.write_parquet(settings.features_bucket, kept[split], frame)
    store.write_json(settings.features_bucket, keys.READY_TABLES, asdict(Ready(feature_set, kept)))
    labels.keep_if_open(store, settings, known or labels.of_names(sorted(set(rows["genre"]))))
    return rows


def find(store: ObjectStore, settings: Settings) -> Ready | None:
    """The tables that are kept, if any."""
    try:
        return Ready(**store.read_json(settings.features_bucket, keys.READY_TABLES))
    except FileNotFoundError:
        return None


def read(store: ObjectStore, settings: Settings, ready: Ready, known: LabelSet | None) -> "pd.DataFrame":
    """Their rows. Raises `BadInput` if a table is gone, or has labels that the set does not know any more."""
    columns = feature_set_named(ready.feature_set).columns
    frames = {}
    for split, key in ready.tables.items():
        try:
            frame = store.read_parquet(settings.features_bucket, key)
        except FileNotFoundError as error:
            raise BadInput(f"the ready table {key} is gone: genre-assets ingest --table again") from error
        frames[split] = tables.normalised(frame, columns, known, name=f"s3://{settings.features_bucket}/{key}")
    return tables.joined(frames.items())


def remove(store: ObjectStore, settings: Settings) -> bool:
    """Take them away, so that audio counts again; returns whether there were any."""
    ready = find(store, settings)
    if ready is None:
        return False
    store.delete(settings.features_bucket, keys.READY_TABLES)
    for key in ready.tables.values():
        store.delete(settings.features_bucket, key)
    return True
