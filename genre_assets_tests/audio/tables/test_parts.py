"""A large label's tables are in parts by the content hash: one clip more writes one part, and readers see one table."""

from collections.abc import Iterator

import pandas as pd
import pytest

from genre_assets import keys, steps
from genre_assets.audio.tables import features, inventory, parts
from genre_assets.audio.tables.refresh import refresh
from genre_assets.models.data import training_store
from genre_assets.settings import Settings
from genre_assets.steps import Step
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.audio.tables.test_one_pass import here

FILES = 6
SOUNDS = [sound_file(music(1.5, seed=seed)) for seed in range(FILES + 1)]
STEPS = [
    Step.FEATURES_INVENTORY, Step.FEATURES_CLAIM, Step.FEATURES_TABLE, Step.FEATURES_MANIFEST, Step.FEATURES_SWEPT,
]  # fmt: skip


class Died(Exception):
    """The process would have ended here."""


@pytest.fixture
def large(store: ObjectStore, settings: Settings, ten_genres: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A label that is large, as these tests mean it."""
    monkeypatch.setattr(parts, "SIXTEEN_FROM", FILES)
    for number, sound in enumerate(SOUNDS[:FILES]):
        store.put_bytes(settings.raw_bucket, f"rock/{number}.wav", sound)
    bring(store, settings)
    yield
    steps.watch(None)


def bring(store: ObjectStore, settings: Settings) -> None:
    inventory.update(store, settings, ["rock"], map_tasks=here)
    refresh(store, settings, ["rock"], map_tasks=here)


def objects(store: ObjectStore, settings: Settings) -> set[str]:
    """Those of both tables, without their manifests and the quarantine."""
    found = {entry.key for entry in store.list(settings.features_bucket)}
    return {key for key in found if "genre=rock/part" in key and not key.startswith("quarantine")}


def tables(store: ObjectStore, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    return inventory.read(store, settings, "rock"), features.read(store, settings, "rock")


def assert_same(found: tuple[pd.DataFrame, ...], wanted: tuple[pd.DataFrame, ...]) -> None:
    for one, other in zip(found, wanted, strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.usefixtures("large")
def test_one_clip_more_writes_one_part_of_each_table(store: ObjectStore, settings: Settings) -> None:
    before = objects(store, settings)
    prefixes = {key.split("part-")[1][0] for key in before}
    assert len(before) == 2 * len(prefixes) > 2
    store.put_bytes(settings.raw_bucket, f"rock/{FILES}.wav", SOUNDS[FILES])
    bring(store, settings)
    files, rows = tables(store, settings)
    assert files["key"].tolist() == rows["key"].tolist() == [f"rock/{number}.wav" for number in range(FILES + 1)]
    new = objects(store, settings) - before
    prefix = files["fingerprint"].iloc[-1][0]
    assert sorted(keys.table_of(key) for key in new) == [keys.features("gtzan37", "rock"), keys.inventory("rock")]
    assert {key.split("part-")[1][0] for key in new} == {prefix}
    assert training_store.read_features(store, settings, ["rock"])["key"].tolist() == files["key"].tolist()


@pytest.mark.usefixtures("large")
def test_a_table_in_one_object_and_one_in_parts_become_each_other_and_hold_the_same(
    store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, names = tables(store, settings), objects(store, settings)
    monkeypatch.setattr(parts, "SIXTEEN_FROM", FILES + 1)
    bring(store, settings)
    assert objects(store, settings) == {keys.features("gtzan37", "rock"), keys.inventory("rock")}
    assert_same(tables(store, settings), split)
    monkeypatch.setattr(parts, "SIXTEEN_FROM", FILES)
    bring(store, settings)
    assert objects(store, settings) == names
    assert_same(tables(store, settings), split)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_death_after_any_step_is_healed_by_the_next_run(store: ObjectStore, settings: Settings, step: Step) -> None:
    before = tables(store, settings)
    store.put_bytes(settings.raw_bucket, f"rock/{FILES}.wav", SOUNDS[FILES])

    def die(reached: Step) -> None:
        if reached is step:
            raise Died

    steps.watch(die)
    with pytest.raises(Died):
        bring(store, settings)
    steps.watch(None)
    meanwhile = tables(store, settings)
    for one, old in zip(meanwhile, before, strict=True):
        assert len(one) in {len(old), len(old) + 1}, "a reader sees the one table or the other"
    bring(store, settings)
    files, rows = tables(store, settings)
    assert (len(files), len(rows)) == (FILES + 1, FILES + 1)
    claim, manifest = inventory.read_claim(store, settings, "rock"), features.read_manifest(store, settings, "rock")
    assert claim is not None
    assert manifest is not None
    named = {keys.part(keys.inventory("rock"), *part) for part in claim.parts.items()}
    named |= {keys.part(keys.features("gtzan37", "rock"), *part) for part in manifest.parts.items()}
    assert objects(store, settings) == named, "and nothing is left over"
    assert list(store.list(settings.features_bucket, "checkpoints/")) == []


@pytest.mark.usefixtures("large")
def test_a_part_that_is_lost_is_made_again(store: ObjectStore, settings: Settings) -> None:
    whole, there = tables(store, settings), objects(store, settings)
    for table in (keys.inventory("rock"), keys.features("gtzan37", "rock")):
        store.delete(settings.features_bucket, next(key for key in sorted(there) if keys.table_of(key) == table))
    bring(store, settings)
    assert objects(store, settings) == there
    assert_same(tables(store, settings), whole)
