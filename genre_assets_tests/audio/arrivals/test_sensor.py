"""The sensor on the raw bucket: it asks for exactly what changed, once, and never takes a failed listing for emptiness."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets import keys
from genre_assets.audio import sensors
from genre_assets.audio.arrivals import decision
from genre_assets.audio.arrivals.decision import Cursor, decide
from genre_assets.audio.tables import inventory, listing
from genre_assets.audio.tables.refresh import refresh
from genre_assets.definitions import build_defs
from genre_assets.errors import DamagedObject, TransientFailure
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import add_ten, keep_ten


@dg.op
def read_the_bucket() -> None:
    """Stands for the real job, whose name is what the sensor looks at."""


@dg.job(name="ingest")
def ingest_job() -> None:
    read_the_bucket()


def tick(
    instance: dg.DagsterInstance, store: Any, settings: Settings, cursor: str | None = None
) -> tuple[list[dg.RunRequest], str | None, str]:
    """(run requests, new cursor, reason for a skip) of one evaluation."""
    context = dg.build_sensor_context(instance, cursor=cursor, resources={"settings": settings, "store": store})
    result = sensors.raw_bucket(context)
    if isinstance(result, dg.SkipReason):
        return [], cursor, result.skip_message or ""
    assert isinstance(result, dg.SensorResult)
    reason = result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason
    return list(result.run_requests or []), result.cursor, reason or ""


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield add_ten(made)


@pytest.fixture
def up_to_date(store: ObjectStore, settings: Settings) -> ObjectStore:
    """A bucket with a file in rock, whose tables are made."""
    keep_ten(store, settings)
    store.put_bytes(settings.raw_bucket, "rock/a.wav", sound_file(music(2, seed=1)))
    inventory.update(store, settings, GENRES)
    refresh(store, settings, GENRES)
    return store


def test_the_first_tick_does_not_repeat_finished_work(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings
) -> None:
    requests, cursor, reason = tick(instance, up_to_date, settings)
    assert requests == []
    assert "hold all" in reason
    assert tick(instance, up_to_date, settings, cursor)[2] == "nothing changed in the raw bucket"


@pytest.mark.parametrize("change", ["add", "overwrite", "delete"])
def test_a_change_in_one_genre_asks_for_that_genre_alone(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings, change: str
) -> None:
    _, cursor, _ = tick(instance, up_to_date, settings)
    if change == "delete":
        up_to_date.delete(settings.raw_bucket, "rock/a.wav")
    else:
        key = "rock/a.wav" if change == "overwrite" else "rock/b.wav"
        up_to_date.put_bytes(settings.raw_bucket, key, b"other bytes")
    requests, _, _ = tick(instance, up_to_date, settings, cursor)
    assert [request.partition_key for request in requests] == ["rock"]


def test_it_does_not_ask_again_while_the_answer_is_under_way(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings
) -> None:
    up_to_date.put_bytes(settings.raw_bucket, "rock/b.wav", b"new")
    requests, cursor, _ = tick(instance, up_to_date, settings)
    assert len(requests) == 1
    instance.create_run_for_job(ingest_job, status=dg.DagsterRunStatus.STARTED)
    assert tick(instance, up_to_date, settings, cursor)[0] == []
    up_to_date.put_bytes(settings.raw_bucket, "pop/c.wav", b"new")
    requests, _, reason = tick(instance, up_to_date, settings, cursor)
    assert (requests, reason) == ([], "waiting for the run that reads the bucket")


def test_a_failed_listing_is_a_skip_that_keeps_the_cursor(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cursor, _ = tick(instance, up_to_date, settings)

    def fails_in_the_middle(*_: object) -> Any:
        yield ObjectInfo("blues/x.wav", "e", 1, datetime.now(UTC))
        raise TransientFailure("S3 does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(up_to_date, "list", fails_in_the_middle)
        requests, after, reason = tick(instance, up_to_date, settings, cursor)
    assert (requests, after) == ([], cursor)
    assert "cannot be compared" in reason


def test_a_file_in_no_genre_is_looked_at_too(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings
) -> None:
    up_to_date.put_bytes(settings.raw_bucket, "at_the_root.wav", b"x")
    requests, _, _ = tick(instance, up_to_date, settings)
    assert [request.partition_key for request in requests] == [GENRES[0]]


@pytest.mark.parametrize(
    ("changed", "first", "last"),
    [
        (("blues", "classical", "metal"), "blues", "metal"),
        (("blues", "rock"), "blues", "rock"),
        (("jazz", "at_the_root.wav", "pop"), "jazz", "pop"),
    ],
)
def test_several_genres_become_one_run_from_the_first_to_the_last(
    instance: dg.DagsterInstance,
    store: ObjectStore,
    settings: Settings,
    changed: tuple[str, ...],
    first: str,
    last: str,
) -> None:
    keep_ten(store, settings)
    inventory.update(store, settings, GENRES)
    refresh(store, settings, GENRES)
    for genre in changed:
        store.put_bytes(settings.raw_bucket, f"{genre}/a.wav" if genre in GENRES else genre, b"x")
    (request,), _, _ = tick(instance, store, settings)
    assert request.partition_key is None
    assert request.tags == {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
        "genre/reason": f"changed in the raw bucket: {', '.join(g for g in changed if g in GENRES)}",
    }


def test_it_waits_for_a_run_of_the_tables_whatever_its_job_and_for_no_other(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings
) -> None:
    defs = build_defs(settings)
    up_to_date.put_bytes(settings.raw_bucket, "rock/b.wav", b"new")
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED):
        other = instance.create_run_for_job(defs.resolve_job_def("retrain"), status=status)
        assert len(tick(instance, up_to_date, settings)[0]) == 1
        # What the UI launches when a person materialises one asset on its page.
        by_hand = instance.create_run_for_job(
            defs.resolve_implicit_global_asset_job_def(), asset_selection={dg.AssetKey("features")}, status=status
        )
        assert tick(instance, up_to_date, settings)[2] == "waiting for the run that reads the bucket"
        for run in (other, by_hand):
            instance.delete_run(run.run_id)
    assert len(tick(instance, up_to_date, settings)[0]) == 1


NOW = {"rock": "new", "pop": "same"}
HELD = {"rock": "old", "pop": "same"}


def test_what_a_failed_run_did_not_bring_is_asked_for_again_later() -> None:
    asked = decide(NOW, HELD, Cursor(HELD), clock=1000.0)
    assert (asked.action, asked.genres) == ("ask", ("rock",))
    soon = decide(NOW, HELD, asked.cursor, clock=1010.0)
    assert (soon.action, soon.cursor) == ("skip", asked.cursor)
    assert decide(NOW, HELD, asked.cursor, clock=1000.0 + decision.RETRY_SECONDS).action == "ask"


def test_another_change_is_asked_for_at_once() -> None:
    asked = decide(NOW, HELD, Cursor(HELD), clock=1000.0)
    more = decide({"jazz": "new", **NOW}, HELD, asked.cursor, clock=1001.0)
    assert (more.action, more.genres) == ("ask", ("jazz", "rock"))


def test_a_cursor_that_cannot_be_read_is_a_fresh_start() -> None:
    for text in (None, "", "not json", "[]", '{"seen": 3}'):
        assert Cursor.load(text) == Cursor()


names = st.sampled_from([f"{genre}/{name}" for genre in ("blues", "rock", "polka") for name in "abcdef"])
buckets = st.dictionaries(names, st.tuples(st.sampled_from(["e1", "e2"]), st.integers(1, 2)), max_size=12)


def objects(bucket: dict[str, tuple[str, int]], when: datetime) -> list[ObjectInfo]:
    return [ObjectInfo(key, etag, size, when) for key, (etag, size) in bucket.items()]


@given(before=buckets, after=buckets)
def test_no_addition_removal_or_overwrite_is_ever_missed_whatever_the_clock_says(
    before: dict[str, tuple[str, int]], after: dict[str, tuple[str, int]]
) -> None:
    second = datetime(2026, 1, 1, tzinfo=UTC)  # all within one second: no decision may rest on time
    changed = listing.changed(*(listing.digests(objects(bucket, second), GENRES) for bucket in (after, before)))
    different = {
        key.partition("/")[0] for key in {*before, *after} if before.get(key) != after.get(key)
    }  # fmt: skip
    expected = {genre for genre in different if genre in GENRES} or ({GENRES[0]} if "polka" in different else set())
    assert set(changed) == expected


def test_a_damaged_claim_is_made_again_and_a_damaged_table_is_named(
    instance: dg.DagsterInstance, up_to_date: ObjectStore, settings: Settings
) -> None:
    claims = [
        o.key for o in up_to_date.list(settings.features_bucket, "inventory/genre=rock/") if o.key.endswith("json")
    ]
    assert claims
    for key in claims:
        up_to_date.put_bytes(settings.features_bucket, key, b'{"listing": "ab')
    requests, _, _ = tick(instance, up_to_date, settings)
    assert [request.partition_key for request in requests] == ["rock"], "the genre is due, nothing fails"
    up_to_date.put_bytes(settings.features_bucket, keys.inventory("rock"), b"PAR1 cut off")
    with pytest.raises(DamagedObject, match=r"s3://.*inventory/genre=rock/part.parquet is damaged"):
        inventory.read(up_to_date, settings, "rock")
