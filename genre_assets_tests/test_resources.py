"""The resources of the definitions: what the UI shows of them, and what a run is given."""

import urllib.request
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_aws.s3 import S3Resource

from genre_assets.definitions import build_defs
from genre_assets.errors import TransientFailure
from genre_assets.resources import S3, default_resources
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services import graphql
from genre_assets.stack.webserver import own_names
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.live_dagster import live_dagster
from genre_assets_tests.waiting import until


def test_the_ui_shows_where_s3_is_and_not_its_secret() -> None:
    settings = load_settings(s3_endpoint_url="http://s3.example:9", s3_secret_key="hidden-from-all")
    shown = {r.name: r for r in RepositorySnap.from_def(build_defs(settings).get_repository_def()).resources or []}
    assert shown["s3"].configured_values["endpoint_url"] == '"http://s3.example:9"'
    assert shown["s3"].resource_type == "genre_assets.resources.S3"
    assert "hidden-from-all" not in str(shown)


def test_s3_is_the_resource_of_dagster_aws_with_the_platforms_deadlines(s3_settings: Settings) -> None:
    given: list[object] = []

    @dg.asset
    def wants_both(s3: S3Resource, store: dg.ResourceParam[ObjectStore]) -> None:
        given.extend([s3, store])

    assert dg.materialize([wants_both], resources=default_resources(s3_settings)).success
    s3, store = given
    assert isinstance(s3, S3Resource)
    config, plain = s3.get_client().meta.config, s3_client(s3_settings).meta.config
    for deadline in ("connect_timeout", "read_timeout", "retries", "max_pool_connections", "s3", "signature_version"):
        assert getattr(config, deadline) == getattr(plain, deadline), deadline
    assert (config.connect_timeout, config.read_timeout) == (5, 60)
    assert isinstance(store, ObjectStore)
    store.put_bytes(s3_settings.raw_bucket, "a/b", b"c")
    assert store.get_bytes(s3_settings.raw_bucket, "a/b") == b"c"


def test_links_are_made_of_the_addresses_for_browsers(s3_settings: Settings) -> None:
    """Between containers the server has another name than people have for it."""
    elsewhere = str(s3_settings.s3_endpoint_url).replace("127.0.0.1", "localhost")
    settings = s3_settings.model_copy(update={
        "s3_public_url": elsewhere, "dagster_url": "http://dagster:3300", "dagster_public_url": "https://dagster.example/",
        "mlflow_url": "http://mlflow:5500", "mlflow_public_url": "https://mlflow.example",
    })  # fmt: skip
    with dg.build_resources(default_resources(settings)) as built:
        built.store.put_bytes(settings.serving_bucket, "drift/w/report.html", b"<p>drift</p>", "text/html")
        link = built.store.browser_link(settings.serving_bucket, "drift/w/report.html")
        assert built.registry.server_url == "https://mlflow.example"
    assert link.startswith(f"{elsewhere}/")
    with urllib.request.urlopen(link, timeout=10) as page:
        assert page.read() == b"<p>drift</p>"
    assert settings.dagster_link == "https://dagster.example"
    assert own_names(settings) == ("dagster", "dagster.example", settings.host)


def test_what_the_resource_says_is_what_is_asked(s3_settings: Settings) -> None:
    elsewhere = S3(
        endpoint_url="http://127.0.0.1:9",
        region_name="eu-central-1",
        aws_access_key_id="x",
        max_attempts=1,
        settings=s3_settings,
    )
    with dg.build_resources({"s3": elsewhere}) as built:
        client = built.s3
    assert client.meta.region_name == "eu-central-1"
    with pytest.raises(TransientFailure, match="S3 does not answer"):
        ObjectStore(client).exists(s3_settings.raw_bucket, "x")


@pytest.mark.timeout(240)
def test_what_a_run_prints_is_in_s3_and_shown_from_there(tmp_path: Path) -> None:
    with live_dagster(tmp_path) as dagster:
        run_id = dagster.launch("ingest")
        with dagster.daemon():
            until(lambda: graphql.progress(dagster.url, run_id).status in graphql.FINISHED, "the run has ended", 120)
            bucket = dagster.settings.serving_bucket
            prefix = f"dagster/storage/{run_id}/compute_logs/"
            until(lambda: any(dagster.store.list(bucket, prefix)), "what it printed is in S3", 20)
        keys = {entry.key for entry in dagster.store.list(bucket, prefix)}
        (key,) = (key for key in keys if key.endswith(".err"))
        kept = dagster.store.get_bytes(bucket, key).decode()
        assert "raw_audio" in kept
        text = """query($key: [String!]!) {capturedLogs(logKey: $key) {stderr}}"""
        name = key.removeprefix(prefix).removesuffix(".err")
        shown = graphql.query(dagster.url, text, {"key": [run_id, "compute_logs", name]})["capturedLogs"]["stderr"]
        assert shown == kept
