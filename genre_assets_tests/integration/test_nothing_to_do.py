"""`genre-assets run` where nothing has changed says so at once, and builds whatever did change, in front of it or behind its back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from genre_assets import keys
from genre_assets.genres import GENRES
from genre_assets.models.mlflow.registry import NAME, ModelRegistry
from genre_assets.settings import Settings
from genre_assets.stack import facts, whole_build
from genre_assets.stack.services import graphql
from genre_assets.stack.services.graphql import RunProgress
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

NEWEST = 'query {runsOrError(filter: {pipelineName: "build"}, limit: 1) {... on Runs {results {runId}}}}'
BUCKETS = {f"{name}_bucket": f"facts-{name}" for name in ("raw", "features", "mlflow", "serving")}
OBJECTS = (
    ("audio", "raw_bucket", "rock/a.wav"),
    ("audio", "raw_bucket", keys.GROUPS),
    ("decisions on files", "features_bucket", keys.read_again("rock", "rock/a.wav")),
    ("ready tables", "features_bucket", keys.READY_TABLES),
    ("tables", "features_bucket", keys.features("default", "rock")),
    ("tables", "features_bucket", keys.TRAINING_SET),
    ("models' files", "mlflow_bucket", "1/models/m-1/artifacts/model.onnx"),
    ("environments", "serving_bucket", keys.environment("abc")),
    ("releases", "serving_bucket", keys.release("abc")),
    ("references", "serving_bucket", keys.reference(1)),
)


@pytest.fixture(scope="module")
def built(stack: Stack) -> Stack:
    """All is as the last build left it, and its run is on record."""
    stack.command("run")
    return stack


def store_of(stack: Stack) -> ObjectStore:
    return ObjectStore(s3_client(stack.settings))


def newest_build(stack: Stack) -> str:
    return str(graphql.query(stack.settings.dagster_url, NEWEST)["runsOrError"]["results"][0]["runId"])


def test_a_run_that_would_find_nothing_to_do_is_not_launched(built: Stack) -> None:
    before = newest_build(built)
    said = built.command("run", "build").stderr
    assert f"nothing to do: all is as run {before[:8]} left it, and the ensemble answers" in " ".join(said.split())
    assert newest_build(built) == before


@pytest.mark.long
def test_what_was_removed_behind_its_back_is_made_anew_and_force_builds_whatever_is_known(built: Stack) -> None:
    settings, store = built.settings, store_of(built)
    before, key = newest_build(built), keys.features(settings.feature_set, "rock")
    table = store.get_bytes(settings.features_bucket, key)
    store.delete(settings.features_bucket, key)
    said = built.command("run").stderr
    assert f"changed since run {before[:8]}: tables" in said
    assert store.get_bytes(settings.features_bucket, key) == table
    made = newest_build(built)
    assert made != before
    assert f"nothing to do: all is as run {made[:8]}" in built.command("run").stderr
    assert "nothing to do" not in built.command("run", "--force").stderr
    assert newest_build(built) != made


@pytest.fixture(scope="module")
def apart(built: Stack) -> Settings:
    """The settings of the stack, with empty buckets of its own: what is put there is nobody else's concern."""
    store_of(built).ensure_buckets(*BUCKETS.values())
    return built.settings.model_copy(update=BUCKETS)


@pytest.mark.parametrize(("fact", "bucket", "key"), OBJECTS, ids=[key for _, _, key in OBJECTS])
def test_an_object_that_comes_changes_or_goes_is_seen(
    built: Stack, apart: Settings, fact: str, bucket: str, key: str
) -> None:
    store = store_of(built)
    found = [facts.state(apart, store)]
    for content in (b"one", b"two"):
        store.put_bytes(getattr(apart, bucket), key, content)
        found.append(facts.state(apart, store))
    store.delete(getattr(apart, bucket), key)
    # A label's first object makes the label.
    assert found[1].changed_since(found[0]) in ([fact], ["labels", fact])
    assert found[2].changed_since(found[1]) == [fact]
    assert facts.state(apart, store).changed_since(found[0]) == []


def test_a_moved_alias_is_seen(built: Stack) -> None:
    store, registry = store_of(built), ModelRegistry.from_settings(built.settings)
    before, version = facts.state(built.settings, store), registry.version("champion")
    assert version is not None
    registry._client.set_registered_model_alias(NAME, "looked_at", str(version.version))
    after = facts.state(built.settings, store)
    registry._client.delete_registered_model_alias(NAME, "looked_at")
    assert after.changed_since(before) == ["models"]


def test_assets_that_dagster_shows_as_never_made_are_seen(built: Stack) -> None:
    shown = graphql.materialised(built.settings.dagster_url, "build")
    assert shown["features"] == {"numPartitions": len(GENRES), "numMaterialized": len(GENRES), "numFailed": 0}
    assert {name for name, found in shown.items() if found is True} >= {"training_set", "conda_pack", "live_ensemble"}


def test_other_code_and_other_settings_are_seen(built: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(built)
    before = facts.state(built.settings, store)
    monkeypatch.setattr(graphql, "metadata_of_job", lambda *_: {"settings": "others"})
    monkeypatch.setattr(facts, "SOURCES", Path(facts.__file__).parent)
    assert facts.state(built.settings, store).changed_since(before) == ["code", "settings"]


Meanwhile = Callable[[ObjectStore, pytest.MonkeyPatch], None]


def nothing(_store: ObjectStore, _patch: pytest.MonkeyPatch) -> None:
    return


def a_table_comes_in(store: ObjectStore, _patch: pytest.MonkeyPatch) -> None:
    store.put_bytes("genre-features", f"{keys.READY}late", b"x")


def another_run_retrains(_store: ObjectStore, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(graphql, "jobs_beside", lambda *_: {"ingest", "retrain"})


@pytest.mark.parametrize(
    ("meanwhile", "kept"), [(nothing, True), (a_table_comes_in, False), (another_run_retrains, False)]
)
def test_what_happens_while_a_build_goes_on_is_for_the_next(
    built: Stack, monkeypatch: pytest.MonkeyPatch, meanwhile: Meanwhile, *, kept: bool
) -> None:
    settings, store, run = built.settings, store_of(built), newest_build(built)

    def launch_and_follow(*_: object, **__: object) -> RunProgress:
        meanwhile(store, monkeypatch)
        return RunProgress(run, "SUCCESS")

    monkeypatch.setattr(whole_build, "launch_and_follow", launch_and_follow)
    until(lambda: graphql.unfinished_runs(settings.dagster_url) == 0, "no other run goes on", 120)
    record = store.find(settings.serving_bucket, keys.LAST_BUILD)
    try:
        assert whole_build.build(settings, report=lambda _: None, force=True)
        after = store.find(settings.serving_bucket, keys.LAST_BUILD)
        assert record is not None
        assert after is not None
        assert (after.last_modified > record.last_modified) == kept
    finally:
        store.delete(settings.features_bucket, f"{keys.READY}late")


def test_an_ensemble_that_does_not_answer_is_reason_enough(built: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    launched, said = list[str](), list[str]()

    def launch_and_follow(_: Settings, job: str, **__: object) -> RunProgress:
        launched.append(job)
        return RunProgress("", "SUCCESS")

    monkeypatch.setattr(whole_build, "launch_and_follow", launch_and_follow)
    away = built.settings.model_copy(update={"triton_http": "127.0.0.1:1", "triton_grpc": "127.0.0.1:1"})
    assert whole_build.build(away, report=said.append)
    assert launched == ["build"]
    assert said[0].endswith("what the ensemble answers")


def test_nothing_known_of_a_service_is_no_reason_to_stay_idle(built: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = list[str]()

    def launch_and_follow(_: Settings, job: str, **__: object) -> RunProgress:
        launched.append(job)
        return RunProgress("", "SUCCESS")

    monkeypatch.setattr(whole_build, "launch_and_follow", launch_and_follow)
    whole_build.build(built.settings.model_copy(update={"mlflow_url": "http://127.0.0.1:1"}), report=lambda _: None)
    assert launched == ["build"]


def test_facts_that_only_one_state_has_are_a_change() -> None:
    then = facts.State({"code": "a"}, {"tables": "b"})
    assert facts.State({"code": "a"}, {"tables": "b", "new": "c"}).changed_since(then) == ["new"]
    assert then.changed_since(replace(then, left={})) == ["tables"]
