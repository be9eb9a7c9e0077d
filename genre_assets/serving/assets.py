"""Stage 4, release -> answers -> drift: live_ensemble, served_requests; `drift_assets.py` has what follows.

Bodies are scripts: load, one domain call, store, metadata. What a step computes lives in the other modules.
"""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG
from pydantic import Field

from genre_assets.checks import as_shown
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.serving import drift_assets, going_live
from genre_assets.serving.agent import fleet
from genre_assets.serving.batch import predict_prefix
from genre_assets.serving.going_live import Done
from genre_assets.serving.promotion.moves import Wish
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl

LIVE_CHECK = "server_serves_the_newest_release"


class LiveEnsembleConfig(dg.Config):
    """Who is to serve, who wants it and why."""

    route: Literal["champion", "fallback", "keep", "?"] = Field(
        default="keep",
        description="champion or fallback: the one that is to serve. keep: what serves now, the champion at first.",
    )
    reason: str = Field(default="a new release", description="Why; it goes into the audit table.")
    actor: str = Field(
        default="build",
        description="Who wants it: person, or your name. build, drift and reconciliation are the platform's own.",
    )
    pinned: bool = Field(
        default=False,
        description="Hold the route, whatever drift says, until the next promotion by a person; without, end that.",
    )
    evidence: dict[str, Any] = Field(default_factory=dict, description="What it rests on, for the audit table.")

    def wish(self) -> Wish:
        """Raises `BadInput` for a promotion without a route or a reason."""
        if self.route == "?" or not self.reason.strip():
            raise BadInput(
                "a promotion needs a route (champion or fallback) and a reason, which goes into the audit table"
            )
        return Wish(self.route, self.actor, self.reason, self.evidence, self.pinned)


# What the Launchpad shows for the job `promote`: it must be filled in.
PROMOTE = {"ops": {"live_ensemble": {"config": {"route": "?", "reason": "", "actor": "person", "pinned": False}}}}


@dg.asset(deps=["triton_repo"], kinds={"triton", "python"}, code_version="1")
def live_ensemble(
    config: LiveEnsembleConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
    triton: dg.ResourceParam[TritonControl],
) -> dg.MaterializeResult[None]:
    """The newest release, loaded in Triton and answering: pre_processor -> predictor -> post_processor.

    Deploys the newest release atomically. Predictions for the golden clips must match the offline ones; otherwise the
    previous release is restored. Nothing changes if the newest release is live already.
    """
    done = going_live.carry_out(config.wish(), settings, store, database, triton)
    return dg.MaterializeResult(
        metadata=_live_facts(done, settings, triton), data_version=dg.DataVersion(done.data_version)
    )


def live_events(
    done: Done, settings: Settings, store: ObjectStore, database: Database, triton: TritonControl
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """What a run of the job `promote` leaves on the pages, for a move that was made without one."""
    facts = _live_facts(done, settings, triton)
    tags = {DATA_VERSION_TAG: done.data_version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
    yield dg.AssetMaterialization(live_ensemble.key, str(facts["result"]), facts, tags=tags)
    found = going_live.inspect(settings, store, database, triton).result()
    yield dg.AssetCheckEvaluation(
        asset_key=live_ensemble.key, check_name=LIVE_CHECK, passed=found.passed, severity=found.severity,
        description=found.description, metadata=found.metadata,
    )  # fmt: skip


def _live_facts(done: Done, settings: Settings, triton: TritonControl) -> dict[str, Any]:
    now = done.live
    return {
        "result": f"The {now.route} serves: {now.release.versions[str(now.version)]['family']} version {now.version} of "
        f"release {now.release.id}.",
        "release": now.release.id,
        "route": now.route,
        "version": now.version,
        "fallback": now.release.roles.get("fallback", "none: the check there_is_a_fallback says why"),
        "model": now.release.versions[str(now.version)]["family"],
        "new release": now.published,
        "route moved": done.moved,
        **({"replicas left out": fleet.names(done.left_out)} if done.left_out else {}),
        **({"signed now, since published before there was a key": done.adopted} if done.adopted else {}),
        "golden clips": len(now.comparisons),
        "largest difference": max((c.difference for c in now.comparisons), default=0.0),
        "seconds": round(now.seconds, 2),
        "gRPC": settings.triton_grpc,
        "metrics": dg.MetadataValue.url(f"http://{settings.triton_metrics}/metrics"),
        "ensemble": dg.MetadataValue.url(f"{triton.url}/v2/models/genre_ensemble"),
    }


class BatchConfig(dg.Config):
    """Which objects to answer."""

    prefix: str = Field(
        default="",
        description="s3://bucket/prefix of a bucket that the ensemble may read (genre-raw, genre-clients), or of keys in "
        "the raw bucket; empty: all of that.",
    )
    log: bool = Field(
        default=False,
        description="Also write the answers to the prediction log, where they are evidence of drift as clients' are.",
    )


@dg.asset(deps=[live_ensemble], kinds={"triton", "parquet"}, code_version="1")
def batch_predictions(
    context: dg.AssetExecutionContext,
    config: BatchConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[None]:
    """Answers of the live ensemble to everything under a prefix of the raw or the clients' bucket, as one Parquet.

    Resumable: only objects without an answer, or changed since, are asked.
    """
    with GenreClient.from_settings(settings) as client:
        done = predict_prefix(
            settings,
            store,
            client,
            config.prefix,
            log=config.log,
            on_progress=lambda n, of: context.log.info(f"{n} of {of}"),
        )
    return dg.MaterializeResult(
        metadata={
            "result": f"{done.items:,} files answered, {done.failed:,} of them with an error; {done.asked:,} asked in this run.",
            "items": done.items,
            "failed": done.failed,
            "asked in this run": done.asked,
            "parts": done.parts,
            "parts that were there": done.parts_reused,
            "by genre": as_shown(done.counts),
            **drift_assets.kept(store, settings, "answers", done.key),
        }
    )


served_requests = dg.AssetSpec(
    "served_requests",
    deps=[live_ensemble],
    kinds={"postgres"},
    description="Every item that the ensemble answered: one row in PostgreSQL, written through an on-disk spool that "
    "outlives database outages and killed processes. Partitioned by day; read it with "
    "`genre_assets.inference.request_log.read`.",
)

clients_audio = dg.AssetSpec(
    "clients_audio",
    deps=[live_ensemble],
    kinds={"s3"},
    description="Audio of clients that is kept in a bucket of its own, if that is asked for (GENRE_CAPTURE): "
    "`raw/<day>/<content hash>.<ending>`, named by the rows of `served_requests`. The sensor `prune_clients_audio` removes what "
    "is too old or too much; each time that it does is an observation here.",
)

ASSETS = [live_ensemble, batch_predictions, served_requests, clients_audio, *drift_assets.ASSETS]
