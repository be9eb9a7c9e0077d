"""Stage 1, S3 -> features: raw_audio -> features, both partitioned by genre.

Bodies are scripts: one domain call, metadata. What a step does lives in `inventory` and `features`; both write their
tables themselves, a genre at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg

from genre_assets.audio import inventory, refresh, reports
from genre_assets.audio.dask_workers import map_on_dask
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.workers import MapTasks, map_files
from genre_assets.partitions import genre_partitions
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

OWNERS = ["team:ml-platform"]


@contextmanager
def _fan_out(settings: Settings) -> Iterator[MapTasks]:
    """All cores of this machine, or the Dask cluster at GENRE_DASK_SCHEDULER if that is set."""
    if settings.dask_scheduler is None:
        yield map_files
        return
    from dagster_dask import dask_resource

    config = {"client": {"address": settings.dask_scheduler}}
    with dg.build_resources({"dask": dask_resource.configured(config)}) as built:
        yield partial(map_on_dask, built.dask.client)


@dg.asset(
    partitions_def=genre_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"python", "s3", "parquet"},
    owners=OWNERS,
    code_version="1",
)
def raw_audio(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.MaterializeResult[None]:
    """Validated inventory of the raw bucket: what each object is, and whether it can be used.

    Files that cannot be decoded, are silent, too short, mislabelled or there twice are listed in the quarantine with a
    reason; the others go on. Only objects that are new or overwritten are read.
    """
    with _fan_out(settings) as map_tasks:
        done = inventory.update(store, settings, context.partition_keys, say=context.log.info, map_tasks=map_tasks)
    for genre, table in done.tables.items():
        context.add_asset_metadata(reports.of_inventory(table, settings, genre), partition_key=genre)
    return dg.MaterializeResult(
        metadata={
            "inspected": done.inspected,
            "unchanged": done.unchanged,
            "files per second": round(done.inspected / done.seconds, 1) if done.inspected else 0.0,
            "files in no genre's folder": done.unknown,
            "other genres settled again": ", ".join(done.also_rewritten) or "none",
            "files by genre": dg.MetadataValue.md(reports.plot_of_verdicts(done.tables)),
            "reasons": dg.MetadataValue.md(reports.table_of_reasons(done.tables)),
        }
    )


@dg.asset(
    deps=[raw_audio],
    partitions_def=genre_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"python", "numpy", "parquet"},
    owners=OWNERS,
    code_version="-".join(f"{name}.{features.version}" for name, features in sorted(FEATURE_SETS.items())),
)
def features(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.MaterializeResult[None]:
    """Features of every usable file, a row for each segment, in one table for each genre.

    Content-addressed: a file whose bytes were seen before is not computed again, whatever its key is now.
    """
    with _fan_out(settings) as map_tasks:
        done = refresh.refresh(store, settings, context.partition_keys, say=context.log.info, map_tasks=map_tasks)
    for genre in context.partition_keys:
        context.add_asset_metadata(reports.of_features(done.tables[genre], settings, genre), partition_key=genre)
    return dg.MaterializeResult(
        metadata={
            "feature set": f"{settings.feature_set}, version {FEATURE_SETS[settings.feature_set].version}",
            "extracted": done.extracted,
            "reused": done.reused,
            "files per second": round(done.rate, 1),
            "slowest files": dg.MetadataValue.md(reports.table_of_times(done.slowest)),
            "left out": dg.MetadataValue.md(reports.table_of_failures(done.failed)),
            "segments by genre": dg.MetadataValue.md(reports.plot_of_segments(done.tables)),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [raw_audio, features]
