"""Raw audio and feature tables on which the checks of the audio stage must fail."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from genre_assets import keys
from genre_assets.audio.tables import features, inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.checks.world import WARN, Case, World

SOUND = music(6, seed=1)


def put(world: World, key: str, data: bytes) -> None:
    world.store.put_bytes(world.settings.raw_bucket, key, data)


_MADE: dict[tuple[str, str], bytes] = {}


def ingested(world: World) -> None:
    """One good file, inventoried and extracted; done once, and then put there as it was."""
    for (bucket, key), data in _MADE.items():
        world.store.put_bytes(bucket, key, data)
    if not _MADE:
        put(world, "rock/a.wav", sound_file(SOUND))
        look_again(world, "rock")
        refresh(world.store, world.settings, ["rock"])
        for bucket in (world.settings.raw_bucket, world.settings.features_bucket):
            for entry in world.store.list(bucket):
                _MADE[bucket, entry.key] = world.store.get_bytes(bucket, entry.key)


def look_again(world: World, *genres: str) -> None:
    inventory.update(world.store, world.settings, genres)


def broken_file(world: World) -> None:
    put(world, "rock/broken.wav", b"no sound at all")
    look_again(world, "rock")


def folder_of_no_label(world: World) -> None:
    put(world, "polka/a.wav", sound_file(SOUND))
    put(world, "Hip-Hop/a.wav", b"x")
    look_again(world, "rock")


def same_song_in_another_genre(world: World) -> None:
    put(world, "pop/quieter.flac", sound_file(SOUND * np.float32(0.3), container="FLAC"))
    look_again(world, "pop")


def file_without_features(world: World) -> None:
    put(world, "rock/b.wav", sound_file(music(3, seed=2)))
    look_again(world, "rock")


def file_that_is_no_more(world: World) -> None:
    world.store.delete(world.settings.raw_bucket, "rock/a.wav")
    look_again(world, "rock")


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[World], None]:
    """Another table in the store than the one that was extracted."""

    def spoil(world: World) -> None:
        changed = change(features.read(world.store, world.settings, "rock"))
        key = keys.features(world.settings.feature_set, "rock")
        world.store.write_parquet(world.settings.features_bucket, key, changed)

    return spoil


def with_value(value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(beat_track=np.float32(value))


CASES: Sequence[Case] = [
    Case("raw_audio:quarantine_share", ingested, broken_file, r"1 of 2 files are in quarantine \(50", WARN),
    Case("raw_audio:every_folder_is_a_label", ingested, folder_of_no_label, r"2 files lie in no .*1 in Hip-Hop/ \(a label's files would lie in hip_hop/\), 1 in polka/ \(genre-assets labels add polka\)", WARN),
    Case("raw_audio:no_conflicting_labels", ingested, same_song_in_another_genre, "1 recordings lie in more than", WARN),
    Case("features:features_are_finite", ingested, table(with_value(np.nan)), "1 files have features that are not", stops=True),
    Case("features:features_are_finite", ingested, table(with_value(-np.inf)), "1 files have features that are not", stops=True),
    Case("features:features_have_their_schema", ingested, table(lambda f: f.drop(columns="beat_track")), "0 of 1 tables", stops=True),
    Case("features:features_have_their_schema", ingested, table(lambda f: f.assign(beat_track=1.0)), "0 of 1 tables", stops=True),
    Case("features:features_have_their_schema", ingested, table(lambda f: f[f.columns[::-1]]), "0 of 1 tables", stops=True),
    Case("features:features_match_the_inventory", ingested, file_without_features, "1 usable files have no features", stops=True),
    Case("features:features_match_the_inventory", ingested, file_that_is_no_more, "1 have stale ones", stops=True),
    Case("features:features_match_the_inventory", ingested, table(lambda f: pd.concat([f, f])), "1 segments are there twice", stops=True),
]  # fmt: skip
