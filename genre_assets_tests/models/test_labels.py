"""Any labels: audio in a folder for each becomes a model that tells them apart, by the real assets and no code of theirs."""

import dagster as dg
import numpy as np
import onnxruntime
import pytest

from genre_assets import labels
from genre_assets.audio import assets as audio_assets
from genre_assets.database import Database
from genre_assets.models.assets import training_set
from genre_assets.models.data import training_store
from genre_assets.models.data.split import SPLITS
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.onnx.portable import INPUT, OUTPUT
from genre_assets.settings import Settings
from genre_assets.stack.orchestrate import over_all
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import RATE, sound_file

CLIPS = 3
SETS = {
    "two": ("yes", "no"),
    "no music": ("whistle", "hum", "beep"),
    "forty": tuple(f"note_{number}" for number in range(40)),
}


def clip(label: int, number: int) -> bytes:
    """Three seconds of a tone whose pitch is the label's, with noise."""
    time = np.arange(3 * RATE) / RATE
    hertz = 150 * 2 ** (label / 8)
    noise = np.random.default_rng((label, number)).standard_normal(len(time))
    return sound_file((0.4 * np.sin(2 * np.pi * hertz * time) + 0.05 * noise).astype(np.float32))


def materialise(store: ObjectStore, settings: Settings, database: Database, instance: dg.DagsterInstance) -> None:
    names = labels.names(store, settings)
    there = instance.get_dynamic_partitions(labels.PARTITIONS)
    instance.add_dynamic_partitions(labels.PARTITIONS, [name for name in names if name not in there])
    done = dg.materialize(
        [*audio_assets.ASSETS, training_set],
        resources={"settings": settings, "store": store, "database": database},
        instance=instance,
        tags=over_all(names),
    )
    assert done.success


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_clips_of_every_label_become_a_model_that_tells_them_apart(
    names: tuple[str, ...], store: ObjectStore, small: Settings, database: Database
) -> None:
    for index, label in enumerate(names):
        for number in range(CLIPS):
            store.put_bytes(small.raw_bucket, f"{label}/{number}.wav", clip(index, number))
    with dg.DagsterInstance.ephemeral() as instance:
        materialise(store, small, database, instance)
    data = training_store.read(store, small)
    assert (data.manifest.rows, data.manifest.genres) == (CLIPS * len(names), tuple(sorted(names)))
    rows = data.part(*SPLITS)
    assert rows.classes == len(names)
    family = FAMILIES["linear"]
    model = family.fit(family.defaults, rows, 1).to_onnx(rows.features.shape[1], 1.0)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answers = session.run([OUTPUT], {INPUT: rows.features})[0]
    assert answers.shape == (len(rows), len(names))
    assert (answers.argmax(axis=1) == rows.labels).mean() > 0.95


def test_the_first_training_set_closes_the_label_set_and_a_label_that_is_added_asks_for_training(
    store: ObjectStore, small: Settings, database: Database
) -> None:
    def put(label: str, pitch: int, clips: int = CLIPS) -> None:
        for number in range(clips):
            store.put_bytes(small.raw_bucket, f"{label}/{number}.wav", clip(pitch, number))

    put("hum", 0)
    put("whistle", 9)
    with dg.DagsterInstance.ephemeral() as instance:
        materialise(store, small, database, instance)
        assert training_store.news(store, small) == training_store.News()
        put("beep", 5)
        assert labels.names(store, small) == ("hum", "whistle"), "a new folder is no label by itself any more"
        labels.keep(store, small, labels.read(store, small).with_labels(["beep"]))
        assert training_store.news(store, small).labels == [], "it cannot be learned yet: it has no features"
        audio = dg.materialize(
            audio_assets.ASSETS,
            resources={"settings": small, "store": store, "database": database},
            instance=_with(instance, "beep"),
            partition_key="beep",
        )
        assert audio.success
        assert training_store.news(store, small) == training_store.News(recordings=CLIPS, labels=["beep"])
        materialise(store, small, database, instance)
    assert training_store.read(store, small).manifest.genres == ("hum", "whistle", "beep"), (
        "the others keep their places"
    )
    labels.keep(store, small, labels.read(store, small).without("hum"))
    assert training_store.news(store, small) == training_store.News(removed=["hum"])


def _with(instance: dg.DagsterInstance, label: str) -> dg.DagsterInstance:
    instance.add_dynamic_partitions(labels.PARTITIONS, [label])
    return instance
