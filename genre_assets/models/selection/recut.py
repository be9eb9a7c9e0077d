"""Held-out recordings as a model wants them: fetched again and cut as its training rows were, where the data is cut otherwise."""

from collections.abc import Container

import numpy as np

from genre_assets.audio.decoding.reasons import AudioError
from genre_assets.audio.extract import Limits, extract_item
from genre_assets.errors import BadInput
from genre_assets.models.data.split import VALIDATION
from genre_assets.models.data.training import Part, TrainingSet
from genre_assets.models.onnx.portable import ModelManifest
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def limits_of(manifest: ModelManifest, settings: Settings) -> Limits:
    """How the model's clips are cut. Only the size of a file, which cuts nothing, is today's setting."""
    cut = manifest.known_cut
    return Limits(cut.max_seconds, cut.segment_seconds, cut.offset, cut.min_seconds, settings.max_file_mb)


def recut(
    training: TrainingSet, recordings: Container[str], manifest: ModelManifest, settings: Settings, store: ObjectStore
) -> Part:
    """The validation rows of these recordings, extracted from their audio as the model wants them.

    A recording that is not in the raw bucket, or that gives no features when cut so, is left out. Raises `BadInput` if
    none is left.
    """
    held = training.frame[training.frame["split"] == VALIDATION].drop_duplicates("recording")
    limits = limits_of(manifest, settings)
    rows, labels, groups, names = [], [], [], []
    for key, genre, group, recording in zip(held["key"], held["genre"], held["group"], held["recording"], strict=True):
        if recording not in recordings:
            continue
        try:
            data = store.get_bytes(settings.raw_bucket, key)
            features = extract_item(data, feature_set=manifest.feature_set, limits=limits).features
        except (FileNotFoundError, AudioError):
            continue
        rows.append(features)
        labels += [genre] * len(features)
        groups += [group] * len(features)
        names += [recording] * len(features)
    if not rows:
        raise BadInput("the audio of no held-out recording is at hand")
    return Part(
        np.concatenate(rows), training.index(labels), np.array(groups), np.array(names), len(training.manifest.genres)
    )
