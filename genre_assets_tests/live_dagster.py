"""Dagster in its real processes over real S3 and PostgreSQL, without MLflow and Triton: enough for the audio stage."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from genre_assets.settings import Settings
from genre_assets.stack.configuration import configure, ports_for
from genre_assets.stack.orchestrate import over_all, partition_by_labels
from genre_assets.stack.services import graphql
from genre_assets.stack.services.catalogue import services
from genre_assets.stack.services.dagster import DagsterDaemon
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.live import COMMAND, environment
from genre_assets_tests.waiting import until

NOTHING_TO_DO = ("nothing changed in the raw bucket", "the tables hold all that is in the raw bucket")
_PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")
_VALUES = ("intValue", "floatValue", "text")
_EVENT = """runId partition assetKey {path} metadataEntries {label
    ... on IntMetadataEntry {intValue} ... on FloatMetadataEntry {floatValue} ... on TextMetadataEntry {text}}"""


@dataclass(frozen=True)
class Run:
    """A run as the UI lists it."""

    run_id: str
    job: str
    status: str
    began: float | None
    ended: float | None
    tags: dict[str, str]


@dataclass(frozen=True)
class Materialised:
    """What the page of a partition shows of its latest materialisation."""

    run_id: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class LiveDagster:
    """The code server and the webserver are up; a test starts the daemon (sensors and queue) when it wants things to happen."""

    settings: Settings
    store: ObjectStore

    @property
    def url(self) -> str:
        return self.settings.dagster_url

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Sensors tick and queued runs start, until the end of the block."""
        with _home(self.settings.home), running(DagsterDaemon(self.settings)):
            yield

    def put(self, key: str, data: bytes) -> None:
        self.store.put_bytes(self.settings.raw_bucket, key, data)

    def command(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `genre-assets` against these services, whose addresses are stated, since no supervisor vouches for them."""
        given = {
            **environment(self.settings.home),
            "GENRE_S3_ENDPOINT_URL": self.settings.s3_endpoint_url or "",
            "GENRE_DAGSTER_URL": self.settings.dagster_url,
        }
        return subprocess.Popen(
            [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=given
        )

    def launch(self, job: str) -> str:
        """Launch a job over all genres, as `genre-assets run` does; returns the run id."""
        return graphql.launch(self.url, job, tags=over_all(partition_by_labels(self.settings)))

    def kill_at_work(self, run_id: str) -> None:
        """SIGKILL to the process of a run, once it has begun its first step."""
        until(lambda: graphql.progress(self.url, run_id).started != [], "the run has begun", 60)
        text = (
            "query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {... on MessageEvent {message}}}}}"
        )
        events = graphql.query(self.url, text, {"id": run_id})["logsForRun"]["events"]
        (pid,) = {int(found.group(1)) for e in events if (found := _PROCESS.search(e["message"]))}
        os.kill(pid, signal.SIGKILL)

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        text = "{runsOrError {... on Runs {results {runId jobName status startTime endTime tags {key value}}}}}"
        found = graphql.query(self.url, text)["runsOrError"]["results"]
        return [
            Run(
                r["runId"],
                r["jobName"],
                r["status"],
                r["startTime"],
                r["endTime"],
                {tag["key"]: tag["value"] for tag in r["tags"]},
            )
            for r in found
        ]

    def until_settled(self, seconds: float = 180.0) -> list[Run]:
        """Wait until all runs are finished and the sensor has since found nothing to ask for; the newest first."""

        def settled() -> bool:
            if not all(run.status in graphql.FINISHED for run in self.runs()):
                return False
            ended = max((run.ended or 0.0 for run in self.runs()), default=0.0)
            tick = self._tick()
            return tick["timestamp"] > max(ended, began) and tick["skipReason"] in NOTHING_TO_DO

        began = time.time()
        until(settled, lambda: f"it settles: {self.runs()}; {self._tick()}", seconds, pause=0.3)
        return self.runs()

    def _tick(self) -> dict[str, Any]:
        """The latest finished tick of the sensor on the raw bucket."""
        text = """query($s: SensorSelector!) {sensorOrError(sensorSelector: $s) {... on Sensor {sensorState {
            ticks(limit: 2) {timestamp status skipReason}}}}}"""
        sensor = {
            "repositoryName": graphql.REPOSITORY, "repositoryLocationName": graphql.LOCATION, "sensorName": "raw_bucket"
        }  # fmt: skip
        ticks = graphql.query(self.url, text, {"s": sensor})["sensorOrError"]["sensorState"]["ticks"]
        return next((t for t in ticks if t["status"] != "STARTED"), {"timestamp": 0.0, "skipReason": "no tick yet"})

    def checks(self, asset: str) -> dict[str, Any]:
        """Check -> its execution (status, runId) for the latest materialisation, as the UI shows it; None: not evaluated."""
        text = """query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {assetChecksOrError {
            ... on AssetChecks {checks {name executionForLatestMaterialization {status runId}}}}}}}"""
        node = graphql.query(self.url, text, {"key": {"path": [asset]}})["assetNodeOrError"]
        return {
            check["name"]: check["executionForLatestMaterialization"] for check in node["assetChecksOrError"]["checks"]
        }

    def page(self, asset: str, genre: str) -> Materialised:
        """The latest materialisation of a genre."""
        text = f"""query($key: AssetKeyInput!, $genres: [String!]) {{assetNodeOrError(assetKey: $key) {{... on AssetNode {{
            assetMaterializations(partitions: $genres, limit: 1) {{{_EVENT}}}}}}}}}"""
        node = graphql.query(self.url, text, {"key": {"path": [asset]}, "genres": [genre]})["assetNodeOrError"]
        (event,) = node["assetMaterializations"]
        return Materialised(event["runId"], _facts(event))

    def materialised(self, asset: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Genre -> metadata of what a run materialised of an asset."""
        text = f"query($id: ID!) {{runOrError(runId: $id) {{... on Run {{assetMaterializations {{{_EVENT}}}}}}}}}"
        found = graphql.query(self.url, text, {"id": run_id})["runOrError"]["assetMaterializations"]
        return {e["partition"]: _facts(e) for e in found if e["assetKey"]["path"] == [asset]}

    def number(self, asset: str, run_id: str, fact: str) -> int:
        """A number in the metadata of a run's materialisations of an asset, which is the same in all of them."""
        (value,) = {facts[fact] for facts in self.materialised(asset, run_id).values() if fact in facts}
        return int(value)


def _facts(event: dict[str, Any]) -> dict[str, Any]:
    return {e["label"]: next((e[k] for k in _VALUES if k in e), None) for e in event["metadataEntries"]}


@contextmanager
def live_dagster(home: Path, **variables: str) -> Iterator[LiveDagster]:
    """The services in `home`; `variables` are further settings by the names of their variables."""
    ports = {name: str(free_port()) for name in ports_for(0)}
    with ExitStack() as up:
        up.enter_context(_home(home))
        with mock.patch.dict(os.environ, {**ports, **variables}):
            settings = configure(home)
        for service in services(settings):
            if service.name in {"s3", "postgres", "dagster-code", "dagster"}:
                up.enter_context(running(service))
        store = ObjectStore(s3_client(settings))
        store.ensure_buckets(settings.raw_bucket, settings.features_bucket, settings.serving_bucket)
        keep_ten(store, settings)
        yield LiveDagster(settings, store)


@contextmanager
def _home(home: Path) -> Iterator[None]:
    """Processes that are started in the block find their settings in `home`, as those of the supervisor do."""
    with mock.patch.dict(os.environ, {"GENRE_HOME": str(home)}):
        yield
