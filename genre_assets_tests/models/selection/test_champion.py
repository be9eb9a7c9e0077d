"""Champion and fallback over a real registry: first choice, gate, replacement, interruption, a person's choice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.data import training
from genre_assets.models.data.split import TRAIN
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import Alias, ModelRegistry, RegisteredVersion
from genre_assets.models.onnx.portable import read_manifest
from genre_assets.models.selection import champion
from genre_assets.models.selection.robustness import PERTURBATIONS
from genre_assets.models.selection.rollback import rollback
from genre_assets.models.tuning import experiment, fit, plots, tune
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import COLUMNS, CUT, synthetic_rows, synthetic_training_set
from genre_assets_tests.models.selection.test_robustness import music, wav

ALIASES: tuple[Alias, ...] = ("champion", "fallback")
FEW = ("k_neighbors", "linear")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are tested elsewhere, and are what takes the time here."""
    for name in ("confusion", "reliability", "importance"):
        monkeypatch.setattr(plots, name, lambda *_: b"")


class World:
    """A registry with models of a training set, and choosing among them."""

    def __init__(self, registry: ModelRegistry, store: ObjectStore, settings: Settings, folder: Path) -> None:
        self.registry, self.store, self.settings, self.folder = registry, store, settings, folder
        self.turns = 0

    def train(self, data: TrainingSet, *families: str, spoiled: bool = False) -> list[RegisteredVersion]:
        """A version of each family with its defaults; spoiled ones have learned shuffled labels."""
        return [self._train(data, family, spoiled) for family in families]

    def _train(self, data: TrainingSet, name: str, spoiled: bool) -> RegisteredVersion:
        family, rows = FAMILIES[name], data.part(TRAIN)
        if spoiled:
            shuffled = np.random.default_rng(0).permutation(rows.labels)
            rows = training.Part(rows.features, shuffled, rows.groups, rows.recordings, rows.classes)

        def make() -> fit.Trained:
            raw = tune.out_of_fold(family, family.defaults, rows, 1)
            found = tune.Search(name, family.defaults, 0.0, [], 0, 0.0)
            return fit.finish(name, found, family.fit(family.defaults, rows, 1), raw, data, seed=1)

        self.turns += 1
        return experiment._run(name, f"{name}-{self.turns}", make, data, self.registry, "features").version

    def choose(self, data: TrainingSet) -> champion.Choice:
        self.turns += 1
        return champion.choose(self.registry, data, self.settings, self.store, self.folder / str(self.turns))

    def standing(self) -> dict[str, int]:
        found = {alias: self.registry.version(alias) for alias in ALIASES}
        return {alias: version.version for alias, version in found.items() if version}


@pytest.fixture
def world(registry: ModelRegistry, store: ObjectStore, small: Settings, tmp_path: Path) -> World:
    return World(registry, store, small, tmp_path)


def larger(seed: int = 5) -> TrainingSet:
    """The same recordings and as many new ones."""
    rows = pd.concat([synthetic_rows(8), synthetic_rows(8, seed=seed)])
    return training.build(rows, COLUMNS, feature_set="gtzan37", feature_set_version="test", cut=CUT, labels=GENRES)


def test_without_models_there_is_nothing_to_choose(world: World) -> None:
    with pytest.raises(BadInput, match="materialise the tuned models first"):
        world.choose(synthetic_training_set())


def test_one_family_alone_has_no_fallback(world: World) -> None:
    data = synthetic_training_set()
    world.train(data, "linear")
    choice = world.choose(data)
    assert choice.fallback.version is None
    assert choice.fallback.reason == "no model may stand in for the champion: there is no other model"
    assert set(world.standing()) == {"champion"}


def test_the_first_champion_is_chosen_by_cross_validation(world: World) -> None:
    data = synthetic_training_set(8)
    world.train(data, "linear", spoiled=True)
    world.train(data, "k_neighbors")
    choice = world.choose(data)
    assert (choice.champion.version, choice.fallback.version) == (2, None)  # the other one guesses
    assert "the first champion" in choice.champion.reason


def test_choosing_again_changes_nothing_and_writes_nothing(world: World, database: Database) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    world.choose(data)
    before = world.standing()
    again = world.choose(data)
    assert not again.champion.changed
    assert not again.fallback.changed
    assert world.standing() == before
    assert len(audit.history(database)) == 2


def test_a_surely_better_model_of_new_data_becomes_champion(world: World, database: Database) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW, spoiled=True)
    world.choose(data)
    world.train(larger(), *FEW)
    choice = world.choose(larger())
    assert choice.champion.changed
    assert choice.champion.version in (3, 4)
    assert "beats" in choice.champion.reason
    newest = next(move for move in audit.history(database) if move.subject == "champion")
    assert "challengers" in newest.evidence


def test_a_champion_that_is_not_surely_beaten_stays_and_the_fallback_follows_the_data(world: World) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    first = world.choose(data)
    world.train(larger(), *FEW)
    choice = world.choose(larger())
    assert not choice.champion.changed
    assert choice.champion.version == first.champion.version
    assert "no challenger is surely better" in choice.champion.reason
    assert choice.fallback.version in (3, 4)


def test_the_gate_compares_on_groups_that_the_champion_has_not_trained_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    first = world.choose(data)
    trained_on = set(data.part(TRAIN).groups)
    seen: list[set[str]] = []
    real = champion._candidate

    def spy(version: RegisteredVersion, model: object, held: training.Part) -> object:
        seen.append(set(held.groups))
        return real(version, model, held)  # type: ignore[arg-type]

    monkeypatch.setattr(champion, "_candidate", spy)
    moved = larger().frame.copy()
    moved["split"] = np.where(moved["group"].isin(list(trained_on)[:5]), "validation", moved["split"])
    crossed = training.TrainingSet(moved, larger().manifest)
    world.train(crossed, *FEW)
    world.choose(crossed)
    assert first.champion.version in (1, 2)
    assert seen
    assert all(not groups & trained_on for groups in seen)


def test_a_data_set_that_was_replaced_replaces_the_champion(world: World) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    world.choose(data)
    other = synthetic_training_set(8, seed=77)
    world.train(other, *FEW)
    choice = world.choose(other)
    assert choice.champion.changed
    assert "none of the recordings that it was trained on is left" in choice.champion.reason
    assert world.standing()["champion"] in (3, 4)


def test_another_version_of_the_features_replaces_the_champion(world: World) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    world.choose(data)
    newer = training.build(
        synthetic_rows(8), COLUMNS, feature_set="gtzan37", feature_set_version="next", cut=CUT, labels=GENRES
    )
    world.train(newer, *FEW)
    assert "the data has gtzan37 next" in world.choose(newer).champion.reason


def test_a_choice_that_was_interrupted_after_the_champion_is_completed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)

    def away(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(champion, "perturbed_rows", away)
        with pytest.raises(ConnectionError):
            world.choose(data)
    assert set(world.standing()) == {"champion"}
    kept = world.standing()["champion"]
    world.choose(data)
    assert world.standing()["champion"] == kept
    assert set(world.standing()) == {"champion", "fallback"}


def test_a_champion_that_a_person_chose_stays_until_there_is_new_data(world: World) -> None:
    data = synthetic_training_set(8)
    world.train(data, *FEW)
    world.choose(data)
    (older,) = world.train(data, "random_forest", spoiled=True)
    world.registry.set_considered(older.version)
    rollback(world.registry, older.version, actor="ada", reason="as a test")
    choice = world.choose(data)
    assert choice.champion.version == older.version
    assert not choice.champion.changed


def test_the_reference_for_drift_is_published_once_for_each_version(world: World, tmp_path: Path) -> None:
    data = synthetic_training_set(8)
    world.train(data, "linear")
    settings, store = world.settings, world.store
    key = champion.publish_reference(world.registry, store, settings, 1, tmp_path)
    written = next(store.list(settings.serving_bucket, key)).last_modified
    frame = store.read_parquet(settings.serving_bucket, key)
    assert len(frame) == data.manifest.splits["train"]
    assert (frame[[f"prob_{genre}" for genre in GENRES]].sum(axis=1).round(4) == 1).all()
    champion.publish_reference(world.registry, store, settings, 1, tmp_path)
    assert next(store.list(settings.serving_bucket, key)).last_modified == written


def test_robustness_is_judged_on_audio_where_it_is_at_hand_and_on_features_elsewhere(world: World) -> None:
    data = synthetic_training_set(8)
    (model,) = world.train(data, "linear")
    manifest = read_manifest(world.registry.download(model.version, world.folder / "model"))
    without = champion.perturbed_rows(data, manifest, world.settings, world.store)
    assert set(without.names) == {"feature_noise"}
    held = data.frame[data.frame["split"] != TRAIN].iloc[0]
    world.store.put_bytes(world.settings.raw_bucket, held["key"], wav(music()))
    everything = world.settings.model_copy(update={"robustness_clips": 1000})
    with_audio = champion.perturbed_rows(data, manifest, everything, world.store)
    assert set(with_audio.names) == set(PERTURBATIONS)
    assert set(with_audio.labels) == {GENRES.index(held["genre"])}
    switched_off = world.settings.model_copy(update={"robustness_clips": 0})
    assert set(champion.perturbed_rows(data, manifest, switched_off, world.store).names) == {"feature_noise"}
