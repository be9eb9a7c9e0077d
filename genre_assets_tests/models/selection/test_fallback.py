"""Who may stand in for the champion: never a mixture with it, never one that guesses; else nobody. Through the assets."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.models.assets import champion_models
from genre_assets.models.checks import fallback_is_another_family, there_is_a_fallback
from genre_assets.models.data import training, training_store
from genre_assets.models.data.split import TRAIN
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.mlflow.tracked_run import TrackedRun
from genre_assets.models.selection import fallback
from genre_assets.models.selection.rollback import rollback
from genre_assets.models.tuning import experiment, fit, tune, vote
from genre_assets.packaging.candidates import choose_versions
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import synthetic_training_set
from genre_assets_tests.models.selection.test_champion import no_pictures
from genre_assets_tests.models.tuning.test_few_groups import UPSTREAM

__all__ = ["no_pictures"]  # a fixture that every test here uses


class World:
    """A registry with models of a training set, and the asset that chooses among them."""

    def __init__(self, registry: ModelRegistry, store: ObjectStore, settings: Settings, folder: Path) -> None:
        self.registry, self.store, self.settings, self.folder = registry, store, settings, folder
        self.data = synthetic_training_set(8)

    def train(self, family: str, *, spoiled: bool = False) -> RegisteredVersion:
        """A version of the family with its defaults; a spoiled one has learned shuffled labels."""
        made, rows = FAMILIES[family], self.data.part(TRAIN)
        if spoiled:
            shuffled = np.random.default_rng(0).permutation(rows.labels)
            rows = training.Part(rows.features, shuffled, rows.groups, rows.recordings, rows.classes)
        raw = tune.out_of_fold(made, made.defaults, rows, 1)
        found = tune.Search(family, made.defaults, 0.0, [], 0, 0.0)
        fitted = made.fit(made.defaults, rows, 1)
        return self.register(family, fit.finish(family, found, fitted, raw, self.data, seed=1))

    def mix(self, *members: RegisteredVersion) -> RegisteredVersion:
        """The vote of these versions."""
        folders = [self.registry.download(m.version, self.folder / f"m{m.version}") for m in members]
        known = [experiment.reference_of(self.registry, m, self.folder / f"k{m.version}") for m in members]
        return self.register(vote.NAME, vote.build(folders, known, self.data, seed=1))

    def register(self, family: str, trained: fit.Trained) -> RegisteredVersion:
        key = f"{family}-{len(self.registry.versions())}"
        return experiment._run(family, key, lambda: trained, self.data, self.registry, "features").version

    def choose(self, data: TrainingSet | None = None, **settings: Any) -> dict[str, dg.AssetCheckEvaluation]:
        """Materialise champion_models with its checks; returns the evaluations by name."""
        training_store.write(self.store, self.settings, data or self.data)
        resources = {
            "settings": self.settings.model_copy(update=settings), "store": self.store, "registry": self.registry,
            "mlflow": TrackedRun(self.registry),
        }  # fmt: skip
        everything: list[Any] = [
            *map(dg.AssetSpec, UPSTREAM), champion_models, fallback_is_another_family, there_is_a_fallback
        ]  # fmt: skip
        done = dg.materialize(everything, resources=resources)
        return {e.check_name: e for e in done.get_asset_check_evaluations()}

    def alias(self, which: Any) -> int | None:
        found = self.registry.version(which)
        return found.version if found else None


@pytest.fixture
def world(registry: ModelRegistry, store: ObjectStore, small: Settings, tmp_path: Path) -> World:
    return World(registry, store, small, tmp_path)


def test_a_mixture_that_contains_the_champion_is_no_fallback_however_robust(world: World) -> None:
    champion, frail = world.train("linear"), world.train("k_neighbors", spoiled=True)
    world.mix(champion, champion, frail)
    checks = world.choose()
    assert world.alias("champion") == champion.version
    assert world.alias("fallback") is None
    assert checks["fallback_is_another_family"].passed
    assert not checks["there_is_a_fallback"].passed
    said = checks["there_is_a_fallback"].description or ""
    assert "version 3 (vote): it is a mixture that contains the champion's family linear" in said
    assert "version 2 (k_neighbors): its balanced accuracy on perturbed audio is not surely above chance" in said


def test_a_mixture_that_an_older_release_of_the_platform_chose_is_replaced_though_no_model_is_new(
    world: World,
) -> None:
    champion, sound = world.train("linear"), world.train("k_neighbors")
    mixture = world.mix(champion, champion, sound)
    world.registry.move("champion", champion.version, actor="a", reason="r")
    world.registry.move("fallback", mixture.version, actor="a", reason="r")
    world.registry.set_considered(mixture.version)
    assert world.choose()["there_is_a_fallback"].passed
    assert (world.alias("champion"), world.alias("fallback")) == (champion.version, sound.version)


def test_the_check_of_a_mixture_fails(world: World) -> None:
    champion = world.train("linear")
    mixture = world.mix(champion, world.train("k_neighbors"))
    world.registry.move("champion", champion.version, actor="a", reason="r")
    world.registry.move("fallback", mixture.version, actor="a", reason="r")
    found = fallback_is_another_family(world.registry), there_is_a_fallback(world.settings, world.registry)
    assert [isinstance(result, dg.AssetCheckResult) and result.passed for result in found] == [False, False]


def test_a_fallback_that_falls_below_the_floor_is_taken_away_and_comes_back_when_it_is_above(
    world: World, database: Database
) -> None:
    world.train("linear")
    world.train("k_neighbors")
    assert world.choose()["there_is_a_fallback"].passed
    before = world.alias("fallback")
    assert before is not None
    refused = world.choose(fallback_floor=1.0)["there_is_a_fallback"]
    assert not refused.passed
    assert "not surely above GENRE_FALLBACK_FLOOR 1" in (refused.description or "")
    assert world.alias("fallback") is None
    assert world.choose()["there_is_a_fallback"].passed
    assert world.alias("fallback") == before
    moves = [(m.moved_from, m.moved_to) for m in audit.history(database, subject="fallback")]
    assert moves == [("none", str(before)), (str(before), "none"), (None, str(before))]


def test_a_choice_without_a_fallback_is_written_once_and_a_release_of_it_has_none(
    world: World, database: Database
) -> None:
    champion = world.train("linear")
    world.train("k_neighbors", spoiled=True)
    world.choose()
    world.choose()
    (only,) = audit.history(database, subject="fallback")
    assert (only.moved_from, only.moved_to) == (None, "none")
    assert "no model may stand in for the champion" in only.reason
    chosen = choose_versions(world.registry, world.folder / "release", 0.0)
    assert chosen.roles == {"champion": champion.version}


def test_a_release_leaves_out_a_fallback_that_is_none(world: World) -> None:
    champion = world.train("linear")
    mixture = world.mix(champion, world.train("k_neighbors"))
    world.registry.move("champion", champion.version, actor="a", reason="r")
    world.registry.move("fallback", mixture.version, actor="a", reason="r")
    chosen = choose_versions(world.registry, world.folder / "release", 0.0)
    assert chosen.roles == {"champion": champion.version}
    assert "a mixture that contains the champion's family" in chosen.left_out


def test_a_person_cannot_make_a_fallback_of_what_is_none(world: World) -> None:
    champion, other = world.train("linear"), world.train("k_neighbors")
    guesses = world.train("random_forest", spoiled=True)
    mixture = world.mix(champion, other)
    world.choose()
    for version, why in ((mixture, "a mixture that contains"), (guesses, "not surely above chance")):
        with pytest.raises(BadInput, match=why):
            rollback(world.registry, version.version, alias="fallback", actor="ada", reason="r")
    world.registry.move("champion", other.version, actor="a", reason="r")
    world.registry.move("fallback", champion.version, actor="a", reason="r")
    with pytest.raises(BadInput, match="fails alike"):
        rollback(world.registry, champion.version, actor="ada", reason="r")


@pytest.mark.parametrize(
    ("family", "champion", "alike"),
    [("vote", "linear", True), ("vote", "vote", True), ("linear", "linear", True), ("linear", "vote", False),
     ("linear", "xgboost", False)],
)  # fmt: skip
def test_what_fails_alike(family: str, champion: str, *, alike: bool) -> None:
    assert fallback.fails_alike(family, champion) is alike
