"""raw_audio and features as Dagster runs them, over an in-memory S3."""

import dataclasses
from collections.abc import Callable
from typing import Any

import dagster as dg
import numpy as np
import pytest

from genre_assets.audio import assets, checks, extract
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.tables import features, inventory
from genre_assets.audio.tables.refresh import Refreshed, refresh
from genre_assets.audio.workers import pool
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import add_ten

RANGE = {"dagster/asset_partition_range_start": GENRES[0], "dagster/asset_partition_range_end": GENRES[-1]}

pytestmark = pytest.mark.usefixtures("ten_genres")


def materialise(resources: dict[str, Any], genre: str | None = None) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [*assets.ASSETS, *checks.CHECKS],
            resources=resources,
            instance=add_ten(instance),
            partition_key=genre,
            tags=None if genre else RANGE,
        )


def put(store: ObjectStore, settings: Settings, key: str, data: bytes) -> None:
    store.put_bytes(settings.raw_bucket, key, data)


def verdicts(store: ObjectStore, settings: Settings) -> dict[str, str]:
    table = inventory.read_all(store, settings)
    return dict(zip(table["key"], table["verdict"], strict=True))


def test_good_files_get_features_and_bad_ones_stop_nothing(
    resources: dict[str, Any], store: ObjectStore, settings: Settings
) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(12, seed=1)))
    put(store, settings, "rock/broken.wav", b"no sound at all")
    put(store, settings, "pop/b.wav", sound_file(music(12, seed=2)))
    put(store, settings, "polka/c.wav", sound_file(music(5, seed=3)))
    put(store, settings, "groups.csv", b"key,group\n")
    result = materialise(resources)
    assert result.success
    assert verdicts(store, settings) == {"rock/a.wav": "ok", "rock/broken.wav": "undecodable", "pop/b.wav": "ok"}
    unknown = inventory.read(store, settings, "unknown", quarantine=True)
    assert unknown[["key", "verdict"]].to_numpy().tolist() == [["polka/c.wav", "unknown_genre"]]
    assert features.read(store, settings, "rock")["key"].unique().tolist() == ["rock/a.wav"]


def test_an_empty_genre_gets_empty_tables_with_their_columns_and_passes(
    resources: dict[str, Any], store: ObjectStore, settings: Settings
) -> None:
    result = materialise(resources)
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    table = features.read(store, settings, "jazz")
    assert len(table) == 0
    assert "mfcc_mean_0" in table.columns


def test_the_same_recording_in_two_genres_is_used_in_neither_whichever_ran_last(
    store: ObjectStore, settings: Settings
) -> None:
    sound = music(6, seed=1)
    put(store, settings, "rock/a.wav", sound_file(sound))
    refreshed(store, settings)
    assert verdicts(store, settings) == {"rock/a.wav": "ok"}
    put(store, settings, "pop/quieter.flac", sound_file(sound * np.float32(0.3), container="FLAC"))
    refreshed(store, settings, "pop")
    assert set(verdicts(store, settings).values()) == {"conflicting_label"}
    assert features.read(store, settings, "rock").empty
    store.delete(settings.raw_bucket, "pop/quieter.flac")
    refreshed(store, settings, "pop")
    assert verdicts(store, settings) == {"rock/a.wav": "ok"}
    assert len(features.read(store, settings, "rock")) == 1


def refreshed(store: ObjectStore, settings: Settings, genre: str = "rock") -> Refreshed:
    """Bring a genre up to date, as the assets do."""
    inventory.update(store, settings, [genre])
    return refresh(store, settings, [genre])


def test_adding_a_file_extracts_one_file(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(3, seed=1)))
    put(store, settings, "rock/b.wav", sound_file(music(3, seed=2)))
    assert refreshed(store, settings).extracted == 2
    put(store, settings, "rock/c.wav", sound_file(music(3, seed=3)))
    inspected = inventory.update(store, settings, ["rock"]).inspected
    done = refresh(store, settings, ["rock"])
    assert (inspected, done.extracted, done.reused) == (1, 1, 2)


def test_renaming_moves_rows_and_deleting_removes_them_without_extraction(
    store: ObjectStore, settings: Settings
) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(3, seed=1)))
    put(store, settings, "rock/b.wav", sound_file(music(3, seed=2)))
    before = refreshed(store, settings).tables["rock"]
    put(store, settings, "rock/renamed.wav", store.get_bytes(settings.raw_bucket, "rock/a.wav"))
    store.delete(settings.raw_bucket, "rock/a.wav")
    store.delete(settings.raw_bucket, "rock/b.wav")
    done = refreshed(store, settings)
    assert done.extracted == 0
    assert done.tables["rock"]["key"].tolist() == ["rock/renamed.wav"]
    assert done.tables["rock"]["beat_track"].tolist() == [before["beat_track"][0]]


def test_overwriting_an_object_extracts_it_again(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(3, seed=1)))
    first = refreshed(store, settings).tables["rock"]
    put(store, settings, "rock/a.wav", sound_file(music(3, seed=2)))
    done = refreshed(store, settings)
    assert done.extracted == 1
    assert done.tables["rock"]["fingerprint"][0] != first["fingerprint"][0]


def test_a_new_version_of_the_feature_set_recomputes_all(
    store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(3, seed=1)))
    put(store, settings, "rock/b.wav", sound_file(music(3, seed=2)))
    refreshed(store, settings)
    changed = dataclasses.replace(FEATURE_SETS["gtzan37"], version="next")
    monkeypatch.setattr(extract, "FEATURE_SETS", {"gtzan37": changed})
    assert refreshed(store, settings).extracted == 2


def test_cutting_clips_in_another_way_recomputes_all(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "rock/a.wav", sound_file(music(4, seed=1)))
    assert len(refreshed(store, settings).tables["rock"]) == 1
    done = refreshed(store, settings.model_copy(update={"segment_seconds": 2.0}))
    assert (done.extracted, len(done.tables["rock"])) == (1, 2)


def test_an_interrupted_run_keeps_what_it_had_done(
    store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        put(store, settings, f"rock/{seed}.wav", sound_file(music(3, seed=seed)))
    with monkeypatch.context() as patch:
        patch.setattr(pool.Progress, "advance", interrupt_at(2))
        with pytest.raises(KeyboardInterrupt):
            inventory.update(store, settings, ["rock"])
    again = inventory.update(store, settings, ["rock"])
    assert (again.inspected, again.extracted) == (2, 2)
    longer = settings.model_copy(update={"segment_seconds": 2.0})
    with monkeypatch.context() as patch:
        patch.setattr(pool.Progress, "advance", interrupt_at(2))
        with pytest.raises(KeyboardInterrupt):
            refresh(store, longer, ["rock"])
    done = refresh(store, longer, ["rock"])
    assert (done.extracted, done.before, done.reused) == (3, 1, 0)
    assert sorted(set(done.tables["rock"]["key"])) == ["rock/0.wav", "rock/1.wav", "rock/2.wav"]
    assert list(store.list(settings.features_bucket, "checkpoints/")) == []


def interrupt_at(count: int) -> Callable[[pool.Progress], None]:
    def advance(progress: pool.Progress) -> None:
        progress.done += 1
        if progress.done == count:
            raise KeyboardInterrupt

    return advance
