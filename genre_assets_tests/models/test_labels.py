"""Whatever labels `genres.py` names: audio in a folder for each becomes a model that tells them apart, by the real assets."""

import dagster as dg
import numpy as np
import onnxruntime

from genre_assets.audio import assets as audio_assets
from genre_assets.genres import GENRES
from genre_assets.models.assets import training_set
from genre_assets.models.data import stored
from genre_assets.models.data.split import SPLITS
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.onnx.portable import INPUT, OUTPUT
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import RATE, sound_file

ALL = {"dagster/asset_partition_range_start": GENRES[0], "dagster/asset_partition_range_end": GENRES[-1]}
CLIPS = 3


def clip(label: int, number: int) -> bytes:
    """Three seconds of a tone whose pitch is the label's, with noise."""
    time = np.arange(3 * RATE) / RATE
    hertz = 200 * 2 ** (label / 3)
    noise = np.random.default_rng((label, number)).standard_normal(len(time))
    return sound_file((0.4 * np.sin(2 * np.pi * hertz * time) + 0.05 * noise).astype(np.float32))


def test_the_labels_are_names_for_folders_columns_and_metrics() -> None:
    assert len(set(GENRES)) == len(GENRES) >= 2
    assert all(name.isidentifier() and name == name.lower() for name in GENRES), GENRES


def test_clips_of_every_label_become_a_model_that_tells_them_apart(store: ObjectStore, small: Settings) -> None:
    for index, label in enumerate(GENRES):
        for number in range(CLIPS):
            store.put_bytes(small.raw_bucket, f"{label}/{number}.wav", clip(index, number))
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [*audio_assets.ASSETS, training_set],
            resources={"settings": small, "store": store},
            instance=instance,
            tags=ALL,
        )
    assert done.success
    data = stored.read(store, small)
    assert data.manifest.rows == CLIPS * len(GENRES)
    rows = data.part(*SPLITS)
    family = FAMILIES["linear"]
    model = family.fit(family.defaults, rows, 1).to_onnx(rows.features.shape[1], 1.0)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answers = session.run([OUTPUT], {INPUT: rows.features})[0]
    assert answers.shape == (len(rows), len(GENRES))
    assert (answers.argmax(axis=1) == rows.labels).all()
