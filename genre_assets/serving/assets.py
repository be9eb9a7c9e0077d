"""Stage 4, release -> answers -> drift: live_ensemble, served_requests, drift_reports.

Bodies are scripts: load, one domain call, store, metadata. What a step computes lives in the other modules.
"""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.serving import promotion
from genre_assets.serving.batch import predict_prefix
from genre_assets.serving.client import GenreClient
from genre_assets.serving.control import TritonControl
from genre_assets.serving.drift.assets import drift_reports
from genre_assets.serving.live import go_live
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

OWNERS = ["team:ml-platform"]


class LiveEnsembleConfig(dg.Config):
    """Who is to serve, who wants it and why. "keep" stays with what serves (the champion at first)."""

    route: Literal["champion", "fallback", "keep"] = "keep"
    reason: str = "a new release"
    actor: str = "build"
    pinned: bool = False
    evidence: dict[str, Any] = Field(default_factory=dict)


@dg.asset(deps=["triton_repo"], kinds={"triton", "python"}, owners=OWNERS, code_version="1")
def live_ensemble(
    config: LiveEnsembleConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.MaterializeResult[None]:
    """The newest release, loaded in Triton and answering: pre_processor -> predictor -> post_processor.

    The release is switched in whole; the golden clips must be answered as offline; if anything fails, what served
    before serves on. Nothing is touched when it serves already.
    """
    wish = promotion.Wish(config.route, config.actor, config.reason, config.evidence, config.pinned)
    requested = promotion.request(database, wish)
    try:
        with GenreClient.from_settings(settings) as client:
            live = go_live(settings, store, triton, client, lambda: promotion.route_for(database, wish))
    except GenreError:
        promotion.withdraw(database, requested)
        raise
    moved = promotion.book(database, wish, live.route, {"release": live.release.id, "version": live.version})
    return dg.MaterializeResult(
        metadata={
            "release": live.release.id,
            "route": live.route,
            "version": live.version,
            "model": live.release.versions[str(live.version)]["family"],
            "new release": live.published,
            "route moved": moved,
            "golden clips": len(live.comparisons),
            "largest difference": max((c.difference for c in live.comparisons), default=0.0),
            "seconds": round(live.seconds, 2),
            "gRPC": settings.triton_grpc,
            "metrics": dg.MetadataValue.url(f"http://{settings.triton_metrics}/metrics"),
            "ensemble": dg.MetadataValue.url(f"{triton.url}/v2/models/genre_ensemble"),
        },
        data_version=dg.DataVersion(f"{live.release.id}-{live.route}"),
    )


class BatchConfig(dg.Config):
    """Which objects of the raw bucket to answer; empty for all."""

    prefix: str = ""


@dg.asset(deps=[live_ensemble], kinds={"triton", "parquet"}, owners=OWNERS, code_version="1")
def batch_predictions(
    context: dg.AssetExecutionContext,
    config: BatchConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[None]:
    """Answers of the live ensemble to everything under a prefix of the raw bucket, as one Parquet.

    Resumable: only objects without an answer, or changed since, are asked.
    """
    with GenreClient.from_settings(settings) as client:
        done = predict_prefix(
            settings, store, client, config.prefix, on_progress=lambda n, of: context.log.info(f"{n} of {of}")
        )
    return dg.MaterializeResult(
        metadata={
            "items": done.items,
            "failed": done.failed,
            "parts": done.parts,
            "parts that were there": done.parts_reused,
            "by genre": dict(done.counts),
            "answers": f"s3://{settings.serving_bucket}/{done.key}",
        }
    )


served_requests = dg.AssetSpec(
    "served_requests",
    deps=[live_ensemble],
    kinds={"postgres"},
    owners=OWNERS,
    description="Every item that the ensemble answered: one row in PostgreSQL, written through an on-disk spool that "
    "outlives database outages and killed processes. Partitioned by day; read it with "
    "`genre_assets.serving.prediction_log.read`.",
)

ASSETS = [live_ensemble, batch_predictions, served_requests, drift_reports]
