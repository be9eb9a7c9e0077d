"""What a model was made from travels with it: how clips were cut, and which features. Through the asset and the release."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from genre_assets import audit, keys
from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import FEATURE_SETS, Limits, extract_item
from genre_assets.audio.tables import features
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.data import training, training_store
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.models.onnx import portable
from genre_assets.models.onnx.portable import read_manifest
from genre_assets.models.selection import champion
from genre_assets.packaging.candidates import choose_versions
from genre_assets.packaging.release import specify
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import COLUMNS, CUT, synthetic_rows, synthetic_training_set
from genre_assets_tests.models.selection.test_champion import no_pictures
from genre_assets_tests.models.selection.test_fallback import World
from genre_assets_tests.models.selection.test_robustness import music, wav
from genre_assets_tests.models.test_assets import put_features

__all__ = ["no_pictures"]  # a fixture that every test here uses
WHOLE, SHORT = Cut(6.0, 6.0, "start", 1.0), Cut(6.0, 2.0, "start", 1.0)
ENVIRONMENT: Any = SimpleNamespace(lock=SimpleNamespace(hash="e"))


@pytest.fixture
def world(registry: ModelRegistry, store: ObjectStore, small: Settings, tmp_path: Path) -> World:
    return World(registry, store, small, tmp_path)


def of_audio(world: World, cut: Cut, *, in_bucket: bool = True) -> TrainingSet:
    """Two genres of six-second clips, cut so."""
    limits, rows = Limits(cut.max_seconds, cut.segment_seconds, cut.offset, cut.min_seconds), []
    for number in range(24):
        data, genre = wav(music(seconds=6.0, seed=number)), ("jazz", "rock")[number % 2]
        key = f"{genre}/{number}.wav"
        if in_bucket:
            world.store.put_bytes(world.settings.raw_bucket, key, data)
        item = extract_item(data, feature_set="gtzan37", limits=limits)
        identity = {"key": key, "fingerprint": item.fingerprint, "recording": f"r{number}", "genre": genre}
        for (segment, _, _), values in zip(item.segments, item.features, strict=True):
            rows.append({**identity, "segment": segment, **dict(zip(COLUMNS, values, strict=True))})
    return training.build(
        pd.DataFrame(rows), COLUMNS, feature_set="gtzan37", feature_set_version="1", cut=cut, labels=GENRES
    )


def train_and_choose(world: World, data: TrainingSet, *, spoiled: bool = False, **settings: Any) -> list[int]:
    world.data = data
    versions = [world.train(family, spoiled=spoiled).version for family in ("linear", "k_neighbors")]
    world.choose(**settings)
    return versions


def test_the_gate_the_fallback_and_the_release_follow_the_cut_of_a_champion_that_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = train_and_choose(world, of_audio(world, WHOLE))
    compared: dict[int, tuple[int, int]] = {}
    real = champion._candidate

    def spy(version: Any, model: Any, held: training.Part) -> Any:
        compared[version.version] = (len(held), len(set(held.recordings)))
        return real(version, model, held)

    monkeypatch.setattr(champion, "_candidate", spy)
    heard: list[Cut | None] = []
    perturbed = champion.perturbed_rows

    def listen(data: Any, manifest: portable.ModelManifest, *rest: Any) -> Any:
        heard.append(manifest.cut)
        return perturbed(data, manifest, *rest)

    monkeypatch.setattr(champion, "perturbed_rows", listen)
    newer = train_and_choose(world, of_audio(world, SHORT), spoiled=True, gate_margin=0.9)
    best = world.alias("champion")
    assert best in older
    (songs,) = {recordings for _, recordings in compared.values()}
    assert compared == {best: (songs, songs), **dict.fromkeys(newer, (3 * songs, songs))}
    assert heard == [WHOLE]
    assert world.alias("fallback") in {None, *older}
    chosen = choose_versions(world.registry, world.folder / "release", 0.0)
    manifests = {version: read_manifest(folder) for version, folder in chosen.folders.items()}
    today = world.settings.model_copy(update={"max_seconds": 6.0, "segment_seconds": 2.0, "offset": "middle"})
    spec = specify(today, ENVIRONMENT, manifests, chosen.roles)
    assert (spec.segments, spec.segment_seconds, spec.max_seconds, spec.offset) == (1, 6.0, 6.0, "start")
    assert "it has other cut than the champion" in chosen.left_out


def test_a_champion_that_cannot_be_compared_on_its_own_cuts_is_replaced_and_the_audit_says_why(
    world: World, database: Database
) -> None:
    train_and_choose(world, of_audio(world, WHOLE, in_bucket=False))
    newer = train_and_choose(world, of_audio(world, SHORT, in_bucket=False))
    assert world.alias("champion") in newer
    newest = audit.history(database, subject="champion")[0]
    assert "its clips were cut otherwise (6 s from the start, by 6 s, at least 1 s)" in newest.reason


def test_going_back_and_forth_between_feature_sets_ends_on_a_model_of_the_set_in_force(
    world: World, database: Database
) -> None:
    first, second = (
        training.build(synthetic_rows(8), COLUMNS, feature_set=name, feature_set_version="1", cut=CUT, labels=GENRES)
        for name in ("gtzan37", "default")
    )
    of_first = train_and_choose(world, first)
    of_second = train_and_choose(world, second)
    assert world.alias("champion") in of_second
    for data, versions, name in ((first, of_first, "gtzan37"), (second, of_second, "default")):  # no model is new now
        world.choose(data)
        assert world.alias("champion") in versions
        assert world.alias("fallback") in {None, *versions}
        newest = audit.history(database, subject="champion")[0]
        assert f"the data has {name} 1" in newest.reason
        assert newest.moved_to == str(world.alias("champion"))
        before = len(audit.history(database))
        world.choose(data)
        assert len(audit.history(database)) == before


def test_another_cut_is_another_training_set_and_its_models_say_so(world: World) -> None:
    versions = {train_and_choose(world, build(cut))[0]: cut for cut in (CUT, SHORT)}
    manifests = [read_manifest(world.registry.download(v, world.folder / f"c{v}")) for v in versions]
    assert [m.cut for m in manifests] == [CUT, SHORT]
    assert manifests[0].data_version != manifests[1].data_version


def build(cut: Cut) -> TrainingSet:
    return training.build(
        synthetic_rows(8), COLUMNS, feature_set="gtzan37", feature_set_version="1", cut=cut, labels=GENRES
    )


def test_features_that_were_cut_otherwise_than_the_settings_say_are_not_taken(
    store: ObjectStore, small: Settings
) -> None:
    put_features(store, small, synthetic_rows(genres=("jazz", "rock")))
    key = f"features/{small.feature_set}/genre=jazz/manifest.json"
    version = FEATURE_SETS["gtzan37"].version
    store.write_json(small.features_bucket, key, {"feature_set_version": version, "cut": features.cut(small)})
    assert len(training_store.read_features(store, small, GENRES))
    other = small.model_copy(update={"segment_seconds": 3.0})
    with pytest.raises(BadInput, match="materialise features again"):
        training_store.read_features(store, other, GENRES)


def test_a_training_set_and_a_model_of_before_are_refused_with_what_to_do(
    store: ObjectStore, small: Settings, world: World
) -> None:
    data = synthetic_training_set()
    training_store.write(store, small, data)
    old = {name: value for name, value in data.manifest.to_json().items() if name != "cut"}
    store.write_json(small.features_bucket, keys.TRAINING_SET_MANIFEST, old)
    with pytest.raises(BadInput, match="materialise training_set again"):
        training_store.read(store, small)
    version = world.train("linear").version
    folder = world.registry.download(version, world.folder / "old")
    manifest = read_manifest(folder)
    text = manifest.to_json().replace('"cut"', '"cut_in_another_word"')
    with pytest.raises(BadInput, match="does not say how its clips were cut"):
        specify(small, ENVIRONMENT, {version: portable.ModelManifest.from_json(text)}, {"champion": version})
