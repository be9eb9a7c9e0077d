"""What the UI shows of the checks is what is so: asked as the UI asks, by Dagster's GraphQL."""

import fnmatch
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest

from genre_assets.audit import Move
from genre_assets.database import Database
from genre_assets.demo.traffic import Traffic
from genre_assets.errors import PermanentFailure
from genre_assets.serving.alerts import sources
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.window_reports import Freshness
from genre_assets.serving.drift.windows import Rules
from genre_assets.stack.services import graphql
from genre_assets.store import ObjectStore, parse_uri, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SHOWN = """{assetNodes {assetKey {path} assetChecksOrError {... on AssetChecks {checks {name
    executionForLatestMaterialization {status evaluation {success metadataEntries {label ... on TextMetadataEntry {text}}}}
}}}}}"""


LINKED = """{assetNodes {assetKey {path}
    metadataEntries {...entry}
    assetMaterializations(limit: 10) {partition metadataEntries {...entry}}
    assetChecksOrError {... on AssetChecks {checks {name executionForLatestMaterialization {
        evaluation {metadataEntries {...entry}}}}}}
}} fragment entry on MetadataEntry {label ... on UrlMetadataEntry {url} ... on MarkdownMetadataEntry {mdStr}
    ... on TextMetadataEntry {text} ... on PathMetadataEntry {path}}"""
MLFLOW_RUN = re.compile(r"#/experiments/\d+/runs/(\w+)")


def shown(stack: Stack) -> dict[str, dict[str, Any]]:
    """Of each asset, each check's execution for the latest materialisation; None is what the UI calls Not Evaluated."""
    nodes = graphql.query(stack.settings.dagster_url, SHOWN)["assetNodes"]
    return {
        "/".join(node["assetKey"]["path"]): {
            check["name"]: check["executionForLatestMaterialization"]
            for check in node["assetChecksOrError"].get("checks", [])
        }
        for node in nodes
    }


def test_no_check_of_the_main_job_is_grey(stack: Stack) -> None:
    until(lambda: not grey(stack), lambda: f"every check is evaluated; grey: {grey(stack)}", 60)


def grey(stack: Stack) -> list[str]:
    return [f"{asset}: {name}" for asset, checks in shown(stack).items() for name, found in checks.items() if not found]


def test_after_a_burst_of_windows_the_newest_is_the_one_shown(stack: Stack) -> None:
    settings = stack.settings
    database = Database(settings.database_url.get_secret_value())
    before = len(window_store.every(database))
    answered = database.rows("SELECT count(*) AS n FROM served_requests")[0]["n"]
    traffic = Traffic(stack.audio, seconds=settings.segment_seconds, seed=settings.seed + answered)
    with GenreClient(settings.triton_grpc) as client:
        client.predict([request.audio for request in islice(traffic.clean(), 3 * settings.window_size)])

    def reported() -> bool:
        judged = [window for window in window_store.every(database) if window.level]
        return len(judged) >= before + 3 and not window_reports.unreported(database)

    until(reported, "three more windows are reported", 120)
    newest = window_store.newest_one(database)
    assert newest is not None
    checks = shown(stack)["drift_reports"]
    assert len(checks) == 7
    for name, found in checks.items():
        facts = {entry["label"]: entry.get("text") for entry in found["evaluation"]["metadataEntries"]}
        if name != "labelled_accuracy":  # of the newest window whose labels have come
            assert facts["window"] == newest.window.id, name
    open_now = {alert["key"] for alert in stack.json("alerts", "--json")["alerts"]}
    drift = checks["feature_drift"]["evaluation"]["success"]
    until(
        lambda: (
            ("check:drift_reports:feature_drift" in {a["key"] for a in stack.json("alerts", "--json")["alerts"]})
            == (newest.level == "detected")
        ),
        f"the alert is that of the newest window ({newest.level}); open: {open_now}",
        30,
    )
    assert drift == (newest.level not in {"detected", "suspected"})


def test_every_link_of_every_alert_leads_somewhere(stack: Stack) -> None:
    """The UI answers any address with its own page, so what is linked is asked for."""
    url = stack.settings.dagster_url
    checks = shown(stack)
    links = {link for alert in stack.alerts.got for link in alert["links"].values()}
    assert links
    of_drift = [alert["links"] for alert in stack.alerts.got if alert["key"].startswith("check:drift_reports:")]
    assert of_drift
    assert all({"check", "report"} <= set(alert) for alert in of_drift), of_drift
    for link in links:
        leads_somewhere(url, link, checks)


def leads_somewhere(url: str, link: str, checks: Mapping[str, Collection[str]]) -> None:
    """Ask Dagster for what the link's page is of; `checks` are its assets with the names of their checks."""
    assert link.startswith(url), link
    words = urlsplit(link.removeprefix(url))
    kind, _, name = words.path.strip("/").partition("/")
    if kind == "runs":
        found = graphql.query(url, "query($id: ID!) {runOrError(runId: $id) {__typename}}", {"id": name})
        assert found["runOrError"]["__typename"] == "Run", link
    elif kind == "assets":
        assert name in checks, link
        named = parse_qs(words.query).get("checkDetail", [])
        assert set(named) <= set(checks[name]), link
    else:
        assert kind in {"automation", ""}, link


@dataclass
class Told:
    """Takes alerts like `Alerts`, and keeps them."""

    reported: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def report(self, key: str, *_: object, links: Mapping[str, str] | None = None, **__: object) -> None:
        self.reported.append((key, links or {}))

    def resolve(self, *_: object, **__: object) -> None:
        pass


def test_every_alert_of_every_source_has_a_link_that_leads_somewhere(stack: Stack) -> None:
    """Those of Triton, S3, the log, silence and sensors too, which do not come up here."""
    url, checks, told, now = stack.settings.dagster_url, shown(stack), Told(), datetime.now(UTC)
    alerts = cast(Alerts, told)
    long_ago = now - timedelta(days=365)
    lost = {counter.metric: 1.0 for counter in sources.COUNTERS.values()}
    standing = {"genre_log_backlog_bytes": 1e9, "genre_log_last_success_timestamp_seconds": 1.0}
    run = graphql.query(url, "{runsOrError(limit: 1) {... on Runs {results {runId}}}}")["runsOrError"]["results"][0]
    rules = Rules.from_settings(stack.settings)
    bad: dict[Callable[..., object], Callable[[], object]] = {
        sources.tell_run: lambda: sources.tell_run("build", run["runId"], url, problem="it failed", alerts=alerts),
        sources.tell_moves: lambda: sources.tell_moves(
            [Move(1, now, "route", "champion", "fallback", "drift", "", {})], alerts, url
        ),
        sources.tell_triton: lambda: sources.tell_triton(False, 1, alerts, url),
        sources.tell_s3: lambda: sources.tell_s3(PermanentFailure("away"), 0, "raw", alerts, url),
        sources.tell_freshness: lambda: sources.tell_freshness(
            Freshness(long_ago, long_ago, long_ago), rules, now, alerts, url
        ),
        sources.tell_log: lambda: sources.tell_log(lost | standing, 1.0, {}, now, alerts, url),
        sources.tell_sensors: lambda: sources.tell_sensors({"promotion_due": 5}, alerts, url),
        sources.tell_retraining: lambda: sources.tell_retraining("drift", alerts, url),
    }
    known = {value for name, value in vars(sources).items() if name.startswith("tell_")}
    assert known - bad.keys() == {sources.tell_checks}  # whose links are those of the evaluations: see the test above
    for tell in bad.values():
        before = len(told.reported)
        tell()
        assert len(told.reported) > before
    assert len(told.reported) == 3 + len(bad) + len(sources.COUNTERS)  # three of silence, two of the log
    for key, links in told.reported:
        assert links, key
        for link in links.values():
            leads_somewhere(url, link, checks)


def test_every_link_of_every_asset_and_check_leads_somewhere(stack: Stack) -> None:
    found = dict(addresses(graphql.query(stack.settings.dagster_url, LINKED)["assetNodes"]))
    kinds = {urlsplit(address).netloc for address in found.values()}
    assert len(kinds) >= 3, found  # MLflow's, Triton's and the object store's, at least
    for place, address in found.items():
        if run := MLFLOW_RUN.search(address):  # MLflow's page answers for any run
            address = f"{address.partition('/#')[0]}/api/2.0/mlflow/runs/get?run_id={run[1]}"
        with urlopen(address, timeout=20) as answer:
            content = answer.read()
        assert content, place
        if run:
            assert json.loads(content)["run"]["info"]["run_id"] == run[1], place


def test_what_is_shown_as_a_link_is_one_and_what_is_named_in_s3_is_there(stack: Stack) -> None:
    """A key is no link: a browser cannot open `s3://`. It is to be copied, so something must lie under it."""
    nodes = graphql.query(stack.settings.dagster_url, LINKED)["assetNodes"]
    links = re.findall(r'"url": "([^"]*)"', json.dumps(nodes))
    assert links
    assert [link for link in links if not link.startswith(("http://", "https://"))] == []
    store = ObjectStore(s3_client(stack.settings))
    named = dict(addresses(nodes, scheme="s3"))
    assert len(named) > 10, named
    for place, address in named.items():
        bucket, key = parse_uri(address)
        start = key.partition("*")[0]  # `part*.parquet`: a table in one part or several
        found = next((entry.key for entry in store.list(bucket, start)), "")
        assert found.startswith(f"{key}/") or (found and fnmatch.fnmatchcase(found, key)), (place, address)


def addresses(value: Any, place: str = "", scheme: str = "https?") -> Iterator[tuple[str, str]]:
    """(where it stands, address) of every address of a scheme in a part of GraphQL's answer; as a rule: what a browser opens."""
    if isinstance(value, dict):
        named = value.get("name") or value.get("label") or value.get("partition") or ""
        here = "/".join([place, *value.get("assetKey", {}).get("path", []), named])
        for part in value.values():
            yield from addresses(part, here, scheme)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from addresses(part, f"{place}.{number}", scheme)
    elif isinstance(value, str):
        for number, address in enumerate(re.findall(rf"{scheme}://[^\s)\"'<>\]]+", value)):
            yield f"{place}:{number}", address
