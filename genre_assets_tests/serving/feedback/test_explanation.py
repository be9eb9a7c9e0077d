"""Why an answer is as it is: the item among the training rows, and the features that spoke."""

from collections.abc import Sequence

import numpy as np
import pytest

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.serving.drift.reference import Floats
from genre_assets.serving.drift.shadow import IdleModels
from genre_assets.serving.feedback.explanation import Explanation, explain
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.serving.drift.data import COLUMNS, log_rows, reference_frame
from genre_assets_tests.serving.feedback.test_feedback import platform, settings

__all__ = ["platform", "settings"]  # fixtures
Platform = tuple[Database, ObjectStore, Settings]
LOUD = 3  # the only feature that the model of these tests listens to


def explained(platform: Platform, features: Sequence[float], **changes: object) -> Explanation:
    """Of an item with these features, answered by version 1, whose training rows name their files."""
    database, store, settings = platform
    frame = reference_frame()
    frame["key"] = [
        f"{genre}/{recording}.wav" for genre, recording in zip(frame["genre"], frame["recording"], strict=True)
    ]
    store.write_parquet(settings.serving_bucket, keys.reference(1), frame)
    (row,) = log_rows(1, seed=4)
    row = Row(**{**row.__dict__, "label": "jazz", "features": [float(v) for v in features], **changes})
    request_log.insert(database, [row])
    return explain(database, store, settings, row.request_id, row.item)


def training_row(number: int) -> list[float]:
    return [float(v) for v in reference_frame()[list(COLUMNS)].to_numpy(np.float32)[number]]


@pytest.fixture
def listens_to_one_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model itself: gateway/test_api.py asks a real one."""

    def probabilities(_: IdleModels, version: int, rows: Floats) -> Floats:
        assert version == 1
        jazz = (rows[:, LOUD] > np.median(reference_frame()[COLUMNS[LOUD]])) * 0.8 + 0.1
        others = np.repeat(((1 - jazz) / 9)[:, None], len(GENRES), axis=1)
        others[:, GENRES.index("jazz")] = jazz
        return others.astype(np.float32)

    monkeypatch.setattr(IdleModels, "labels", lambda _: GENRES)
    monkeypatch.setattr(IdleModels, "probabilities", probabilities)


@pytest.mark.usefixtures("listens_to_one_feature")
def test_a_training_clip_is_usual_and_nearest_to_itself_and_what_spoke_is_named(platform: Platform) -> None:
    _, store, settings = platform
    known = reference_frame()
    place = int(np.flatnonzero(known[COLUMNS[LOUD]] > known[COLUMNS[LOUD]].median())[0])
    features, itself = training_row(place), known.iloc[place]
    key = f"{itself['genre']}/{itself['recording']}.wav"
    store.put_bytes(settings.raw_bucket, key, b"sound")
    found = explained(platform, features)
    assert found.usual is not None
    assert found.usual > 0.02
    assert found.neighbours
    assert (found.neighbours[0].key, found.neighbours[0].address) == (key, f"s3://{settings.raw_bucket}/{key}")
    assert len({one.key for one in found.neighbours}) == 5, "of each recording its nearest segment"
    assert found.features is not None
    assert [(one.feature, one.share) for one in found.features] == [(COLUMNS[LOUD], 0.8)]
    low, high = found.features[0].usual
    assert low < known[COLUMNS[LOUD]].median() < high


@pytest.mark.usefixtures("listens_to_one_feature")
def test_what_is_like_nothing_known_is_said_to_be(platform: Platform) -> None:
    far = explained(platform, [v * 40 for v in training_row(30)])
    assert far.usual is not None
    assert far.usual < 0.01


def test_what_cannot_be_told_is_unknown_and_says_why(platform: Platform) -> None:
    database, store, settings = platform
    other = explained(platform, [1.0, 2.0])
    assert (other.usual, other.neighbours, other.features) == (None, None, None)
    assert "the item has 2 features" in other.unknown
    gone = explain(database, store, settings, other.request_id, other.item)
    assert gone.unknown == other.unknown
    with pytest.raises(FileNotFoundError, match="no row"):
        explain(database, store, settings, "nobody")


def test_a_model_that_is_no_more_leaves_its_features_unknown(platform: Platform) -> None:
    found = explained(platform, training_row(3))
    assert found.usual is not None
    assert found.features is None
    assert "cannot be asked any more" in found.unknown


def test_an_item_with_an_error_has_nothing_to_explain(platform: Platform) -> None:
    with pytest.raises(BadInput, match="silent"):
        explained(platform, training_row(3), error_code="silent", error="silent: no sound")
