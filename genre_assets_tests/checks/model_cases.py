"""Training sets and registries on which the checks of the models stage must fail."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from genre_assets.genres import GENRES
from genre_assets.models.data import training, training_store
from genre_assets.models.mlflow.registry import RegisteredVersion
from genre_assets.models.selection import fallback
from genre_assets_tests.checks.world import WARN, Case, World
from genre_assets_tests.models.conftest import synthetic_training_set


def training_set(world: World) -> None:
    training_store.write(world.store, world.settings, synthetic_training_set(8))


def rows(change: Callable[[pd.DataFrame], object]) -> Callable[[World], None]:
    """The training set as a faulty training_set would have written it: its manifest names these very rows."""

    def spoil(world: World) -> None:
        made = training_store.read(world.store, world.settings)
        frame = made.frame.copy()
        change(frame)
        told = made.manifest
        version = training.content_hash(frame, told.feature_set, told.feature_set_version, told.cut)
        changed = training.TrainingSet(frame, dataclasses.replace(told, version=version))
        training_store.write(world.store, world.settings, changed)

    return spoil


def put(frame: pd.DataFrame, column: str, value: object, where: object = slice(None)) -> None:
    frame.loc[where, column] = value  # type: ignore[call-overload]


def one_row_elsewhere(frame: pd.DataFrame) -> None:
    put(frame, "split", "test" if frame["split"][0] == "train" else "train", 0)


def a_copy_elsewhere(frame: pd.DataFrame) -> None:
    """The same sound under another name, held out; no identity tells of it."""
    frame.loc[len(frame)] = frame[frame["split"] == "train"].iloc[0]
    for name in ("key", "fingerprint", "recording", "group"):
        put(frame, name, "another", len(frame) - 1)
    put(frame, "split", "test", len(frame) - 1)


def one_song_of_rock(frame: pd.DataFrame) -> None:
    frame.drop(frame.index[(frame["genre"] == "rock") & ~frame["key"].str.contains("-0-0")], inplace=True)
    frame.reset_index(drop=True, inplace=True)


def genre_in(split: str) -> Callable[[pd.DataFrame], object]:
    return lambda frame: put(frame, "split", split, frame["genre"] == "jazz")


def model(number: int, family: str, heard: fallback.Heard | None = None, low: float = 0.5) -> RegisteredVersion:
    """A version with what its run measured: a recall of each genre, and the lower end of the balanced accuracy."""
    metrics = {f"cross_validation_recall_{genre}": 0.6 for genre in GENRES}
    metrics["cross_validation_balanced_accuracy_low"] = low
    tags = {fallback.TAG: heard.to_tag()} if heard else {}
    return RegisteredVersion(number, f"run{number}", family, "data", metrics, tags)


SURE, UNSURE = fallback.Heard(0.5, 0.4, 0.6, 0.1), fallback.Heard(0.15, 0.05, 0.25, 0.1)


def chosen(world: World) -> None:
    world.registry.aliases = {"champion": model(1, "linear"), "fallback": model(2, "xgboost", SURE)}


def fallback_is(version: RegisteredVersion | None) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world.registry.aliases.pop("fallback")
        if version is not None:
            world.registry.aliases["fallback"] = version

    return spoil


def guessing_champion(world: World) -> None:
    world.registry.aliases["champion"] = model(3, "linear", low=0.09)


def champion_of_two_genres(world: World) -> None:
    """Better than a guess among ten, and no better than one among those that it was trained on."""
    metrics = {"cross_validation_recall_jazz": 0.6, "cross_validation_recall_rock": 0.5}
    metrics["cross_validation_balanced_accuracy_low"] = 0.45
    world.registry.aliases["champion"] = dataclasses.replace(model(3, "linear"), metrics=metrics)


def no_champion(world: World) -> None:
    world.registry.aliases.clear()


CASES: Sequence[Case] = [
    Case("training_set:nothing_leaks_across_splits", training_set, rows(one_row_elsewhere), "is in 2 splits", stops=True),
    Case("training_set:nothing_leaks_across_splits", training_set, rows(a_copy_elsewhere), "are the same", stops=True),
    Case("training_set:features_are_as_the_extractor_makes_them", training_set, rows(lambda f: f.pop("beat_track")), "missing.*beat_track", stops=True),
    Case("training_set:features_are_as_the_extractor_makes_them", training_set, rows(lambda f: put(f, "beat_track", np.nan, 3)), "not finite.*beat_track", stops=True),
    Case("training_set:classes_are_balanced", training_set, rows(one_song_of_rock), "rock has 1", WARN),
    Case("training_set:every_genre_is_held_out", training_set, rows(genre_in("train")), "jazz: nothing held out", WARN),
    Case("training_set:every_genre_is_held_out", training_set, rows(genre_in("test")), "jazz: nothing to train on", WARN),
    Case("training_set:no_column_is_constant", training_set, rows(lambda f: put(f, "beat_track", np.float32(1))), "constant: beat_track", WARN),
    Case("champion_models:fallback_is_another_family", chosen, fallback_is(model(2, "linear", SURE)), "linear.*linear", stops=True),
    Case("champion_models:fallback_is_another_family", chosen, fallback_is(model(2, "vote", SURE)), "linear.*vote", stops=True),
    Case("champion_models:fallback_is_another_family", chosen, no_champion, "no champion", stops=True),
    Case("champion_models:there_is_a_fallback", chosen, fallback_is(None), "nothing was chosen yet"),
    Case("champion_models:there_is_a_fallback", chosen, fallback_is(model(2, "xgboost", UNSURE)), "not surely above chance"),
    Case("champion_models:there_is_a_fallback", chosen, fallback_is(model(2, "xgboost")), "never tried on perturbed audio"),
    Case("champion_models:champion_beats_chance", chosen, guessing_champion, r"0\.090.*chance.*0\.100", WARN),
    Case("champion_models:champion_beats_chance", chosen, champion_of_two_genres, r"0\.450.*chance.*0\.500.*2 genres", WARN),
    Case("champion_models:champion_beats_chance", chosen, no_champion, "no champion", WARN),
]  # fmt: skip
