"""Captured audio is removed when it is too old or too much, by the sensor, and nothing else in its bucket is."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from genre_assets import keys
from genre_assets.errors import BadInput
from genre_assets.serving import clients_audio, prune_sensors
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore

MEGABYTE = 2**20


def put(store: ObjectStore, settings: Settings, days_ago: int, seed: int, size: int = MEGABYTE) -> str:
    day = f"{datetime.now(UTC) - timedelta(days=days_ago):%Y-%m-%d}"
    key = keys.clients_audio(day, hashlib.sha256(str(seed).encode()).hexdigest(), "wav")
    store.put_bytes(settings.clients_bucket, key, b"x" * size)
    return key


def listed(store: ObjectStore, settings: Settings) -> set[str]:
    return {entry.key for entry in store.list(settings.clients_bucket)}


def look(instance: dg.DagsterInstance, settings: Settings, cursor: str | None = None) -> Any:
    context = dg.build_sensor_context(instance=instance, resources={"settings": settings}, cursor=cursor)
    return prune_sensors.prune_clients_audio(context), context.cursor


def test_what_is_too_old_or_too_much_is_removed_the_oldest_first(store: ObjectStore, s3_settings: Settings) -> None:
    settings = s3_settings.model_copy(update={"capture_retention_days": 7, "capture_max_mb": 2.0})
    old = [put(store, settings, days, seed) for seed, days in enumerate((400, 30, 8))]
    young = [put(store, settings, days, seed) for seed, days in enumerate((7, 2, 1, 0))]
    own = ["uploads/2020-01-01/song.wav", "raw/song.wav", f"raw/2020-01-01/{'a' * 63}.wav"]
    for key in own:
        store.put_bytes(settings.clients_bucket, key, b"y" * 9 * MEGABYTE)
    assert listed(store, settings) == {*old, *young, *own}
    with dg.DagsterInstance.ephemeral() as instance:
        said, cursor = look(instance, settings)
        assert said.skip_message.startswith("3 clips removed for their age and 2 for the bound; 2 are kept, 2.0 MB")
        assert listed(store, settings) == {*young[2:], *own}
        (record,) = instance.fetch_observations(dg.AssetKey("clients_audio"), limit=5).records
        metadata = record.asset_observation.metadata if record.asset_observation else {}
        assert (metadata["by_age"].value, metadata["by_size"].value, metadata["left"].value) == (3, 2, 2)
        assert look(instance, settings, cursor)[0].skip_message == "looked at a moment ago"
        assert look(instance, settings)[0].skip_message.startswith("0 clips removed")
        assert len(instance.fetch_observations(dg.AssetKey("clients_audio"), limit=5).records) == 1


def test_of_very_many_the_rest_is_left_to_the_next_look(
    store: ObjectStore, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [put(store, s3_settings, 60 - seed, seed, 10) for seed in range(2)]
    monkeypatch.setattr(clients_audio, "LONGEST_SECONDS", -1.0)
    with dg.DagsterInstance.ephemeral() as instance:
        said, cursor = look(instance, s3_settings)
        assert said.skip_message.endswith("2 still to be removed")
        assert listed(store, s3_settings) == set(old)
        assert cursor is None, "it looks again at once"


def test_an_absent_store_or_bucket_is_a_skip_and_a_refusal_is_none(s3_settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for changed in ({"s3_endpoint_url": "http://127.0.0.1:9"}, {"clients_bucket": "not-made-yet"}):
            said, cursor = look(instance, s3_settings.model_copy(update=changed))
            assert said.skip_message.startswith("not looked at: ")
            assert cursor is None
        wrong = type(s3_settings.s3_secret_key)("wrong")
        with pytest.raises(BadInput, match="access denied"):
            look(instance, s3_settings.model_copy(update={"s3_secret_key": wrong}))


def test_of_one_day_the_one_that_came_first_goes_first() -> None:
    now = datetime.now(UTC)
    key = [keys.clients_audio(f"{now:%Y-%m-%d}", letter * 64, "wav") for letter in "ab"]
    later, sooner = (ObjectInfo(k, "e", 10, now + timedelta(seconds=s)) for k, s in zip(key, (5, 0), strict=True))
    assert clients_audio.due([later, sooner], days=30, max_bytes=10, now=now) == ([], [sooner])
