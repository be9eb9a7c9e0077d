"""Stage 1, S3 -> features: raw_audio -> features, both partitioned by genre.

Bodies are scripts: one domain call, metadata. What a step does lives in `inventory` and `features`; both write their
tables themselves, a genre at a time.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from genre_assets import labels
from genre_assets.audio import reports
from genre_assets.audio.arrivals import materialised
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import features as feature_tables
from genre_assets.audio.tables import inventory, refresh
from genre_assets.audio.workers.dask import map_on_dask
from genre_assets.audio.workers.pool import MapTasks, map_files
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.runs import pools
from genre_assets.runs.partitions import label_partitions
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def _fan_out(settings: Settings) -> Iterator[MapTasks]:
    """All cores of this machine, or the Dask cluster at GENRE_DASK_SCHEDULER if that is set."""
    if settings.dask_scheduler is None:
        yield map_files
        return
    try:
        from dagster_dask import dask_resource
    except ModuleNotFoundError as error:
        raise BadInput(
            f"GENRE_DASK_SCHEDULER is set, and {error.name} is not installed here: pip install 'genre-assets[dask]' "
            "(on the Dask workers too), or unset it to use the cores of this machine"
        ) from error

    config = {"client": {"address": settings.dask_scheduler}}
    with dg.build_resources({"dask": dask_resource.configured(config)}) as built:
        yield partial(map_on_dask, built.dask.client)


def _show(
    context: dg.AssetExecutionContext,
    names: Sequence[str],
    written: Collection[str],
    version: Callable[[str], str],
    facts: Callable[[str], dict[str, Any]],
) -> None:
    """Let the page of every genre show what its table holds.

    A genre of the run's partitions is materialised anyway. Another one is, if this run rewrote its table (a recording
    of it turned up elsewhere), or an earlier one did that was killed before it could say so.
    """
    for genre in names:
        asked, name = genre in context.partition_keys, version(genre)
        if not asked and genre not in written and (not name or _shown(context, genre) in {None, name}):
            continue
        told = {**facts(genre), reports.VERSION: name, "in this run": reports.what_was_done(genre, asked, written)}
        if asked:
            context.add_asset_metadata(told, partition_key=genre)
        else:
            context.log_event(dg.AssetMaterialization(context.asset_key, metadata=told, partition=genre))


def _page(
    facts: "Callable[[pd.DataFrame, Settings, str], reports.Facts]",
    read: "Callable[[str], pd.DataFrame]",
    settings: Settings,
    genre: str,
) -> dict[str, Any]:
    """What the page of a genre shows of its table: its facts, and its columns with their types."""
    table = read(genre)
    columns = [dg.TableColumn(str(name), str(kind)) for name, kind in table.dtypes.items()]
    return {**facts(table, settings, genre), "dagster/column_schema": dg.TableSchema(columns)}


def _shown(context: dg.AssetExecutionContext, genre: str) -> str | None:
    """The version of the table that the genre's page shows; "" if it names none, None if it was never materialised."""
    wanted = dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[genre])
    for record in context.instance.fetch_materializations(wanted, limit=1).records:
        if record.asset_materialization is not None:
            name = record.asset_materialization.metadata.get(reports.VERSION)
            return str(name.value) if name is not None else ""
    return None


@dg.asset(
    partitions_def=label_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"python", "s3", "parquet"},
    pool=pools.AUDIO,
    code_version="1",
)
def raw_audio(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> dg.MaterializeResult[None]:
    """Validated inventory of the raw bucket: what each object is, and whether it can be used.

    Files that cannot be decoded, are silent, too short, mislabelled or there twice are listed in the quarantine with a
    reason; the others go on. Only objects that are new or overwritten are read.
    """
    index = RecordingIndex(database, settings.raw_bucket, say=context.log.info)
    with _fan_out(settings) as map_tasks:
        done = inventory.update(
            store, settings, context.partition_keys, say=context.log.info, map_tasks=map_tasks, index=index
        )
    _show(
        context,
        labels.names(store, settings),
        done.written,
        partial(materialised.inventory_version, store, settings),
        partial(_page, reports.of_inventory, partial(inventory.read, store, settings), settings),
    )
    return dg.MaterializeResult(
        metadata={
            "result": reports.said_of_inventory(done.tables, done.inspected),
            "inspected": done.inspected,
            "features computed in the same pass": done.extracted,
            "unchanged": done.unchanged,
            "files per second": round(done.inspected / done.seconds, 1) if done.inspected else 0.0,
            "files in no genre's folder": done.unknown,
            "other genres settled again": ", ".join(sorted(done.written - set(context.partition_keys))) or "none",
            "files by genre": dg.MetadataValue.md(reports.plot_of_verdicts(done.tables)),
            "reasons": dg.MetadataValue.md(reports.table_of_reasons(done.tables)),
        }
    )


@dg.asset(
    deps=[raw_audio],
    partitions_def=label_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"python", "numpy", "parquet"},
    pool=pools.AUDIO,
    code_version="-".join(f"{name}.{features.version}" for name, features in sorted(FEATURE_SETS.items())),
)
def features(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> dg.MaterializeResult[None]:
    """Features of every usable file, a row for each segment, in one table for each genre.

    Content-addressed: a file whose bytes were seen before is not computed again, whatever its key is now.
    """
    index = RecordingIndex(database, settings.raw_bucket, say=context.log.info)
    with _fan_out(settings) as map_tasks:
        done = refresh.refresh(
            store, settings, context.partition_keys, say=context.log.info, map_tasks=map_tasks, index=index
        )
    _show(
        context,
        labels.names(store, settings),
        done.written,
        partial(materialised.features_version, store, settings),
        partial(_page, reports.of_features, partial(feature_tables.read, store, settings), settings),
    )
    return dg.MaterializeResult(
        metadata={
            "result": reports.said_of_features(done.tables, done.extracted),
            "feature set": f"{settings.feature_set}, version {FEATURE_SETS[settings.feature_set].version}",
            "extracted": done.extracted,
            "of these, computed before": f"{done.before}, by raw_audio or an interrupted run",
            "reused": done.reused,
            "files per second, computed here": round(done.rate, 1),
            "slowest files": dg.MetadataValue.md(reports.table_of_times(done.slowest)),
            "left out": dg.MetadataValue.md(reports.table_of_failures(done.failed)),
            "segments by genre": dg.MetadataValue.md(reports.plot_of_segments(done.tables)),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [raw_audio, features]
