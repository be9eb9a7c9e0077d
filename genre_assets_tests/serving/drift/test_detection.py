"""The promise of the verdict on synthetic genres: few false alarms, drift found, genre mixes no drift."""

import numpy as np
import pytest

from genre_assets.errors import BadInput
from genre_assets.serving.drift import detection, null, reference
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.null import Baseline
from genre_assets_tests.serving.drift.data import COLUMNS, features, reference_frame


@pytest.fixture(scope="module")
def base() -> Baseline:
    return null.baseline(reference.from_frame(reference_frame()), resamples=199)


def p_values(base: Baseline, windows: int, items: int, genre: int | None = None, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(items)
    found = []
    for seed in range(windows):
        genres = None if genre is None else np.full(items, (genre + seed) % 10)
        values = features(items, rng, genres) * np.float32(np.exp(shift))
        found.append(detection.feature_drift(base, values, false_alarm_rate=0.05, seed=seed).p_value)
    return np.array(found)


@pytest.mark.parametrize("items", [16, 64])
def test_undrifted_windows_alarm_about_as_often_as_stated(base: Baseline, items: int) -> None:
    """5 % of 100: more than 12 would come of chance in one of a thousand suites."""
    assert (p_values(base, 100, items) <= 0.05).sum() <= 12


def test_windows_of_a_single_genre_are_no_drift(base: Baseline) -> None:
    assert (p_values(base, 60, 32, genre=0) <= 0.05).sum() <= 9


def test_a_shift_of_all_features_is_found_in_32_items(base: Baseline) -> None:
    assert (p_values(base, 40, 32, shift=0.15) <= 0.05).mean() >= 0.95


def test_one_feature_that_moves_is_found_and_named(base: Baseline) -> None:
    """The mix may take up a part of it, so that another feature seems to move too; the one that moves is named."""
    values = features(64, np.random.default_rng(5))
    values[:, 3] *= np.float32(1.8)
    drift = detection.feature_drift(base, values, false_alarm_rate=0.01)
    assert drift.level is Level.DETECTED
    assert "f3" in [f.name for f in drift.features[:2]]
    assert "f3" in drift.drifted()
    assert len(drift.drifted()) <= 2


def test_a_feature_that_spreads_without_moving_is_found(base: Baseline) -> None:
    values = features(128, np.random.default_rng(6))
    values[:, 2] = np.exp(3 * (np.log(values[:, 2]) - np.log(values[:, 2]).mean()) + np.log(values[:, 2]).mean())
    assert detection.feature_drift(base, values).features[0].name == "f2"


def test_a_window_of_one_genre_gets_that_mix(base: Baseline) -> None:
    values = features(64, np.random.default_rng(7), np.full(64, 4))
    assert detection.feature_drift(base, values).mix["hiphop"] > 0.9


def test_the_same_window_gets_the_same_verdict(base: Baseline) -> None:
    values = features(32, np.random.default_rng(8))
    assert detection.feature_drift(base, values, seed=3) == detection.feature_drift(base, values, seed=3)


def test_a_small_reference_of_correlated_rows_keeps_the_promise() -> None:
    """Thirty recordings of three segments; new recordings in the windows. A naive test takes the rows for independent."""
    alarms = 0
    for seed in range(12):
        small = null.baseline(reference.from_frame(reference_frame(30, 3, seed=100 + seed)), resamples=199)
        alarms += int((p_values(small, 10, 32) <= 0.05).sum())
    assert alarms <= 14  # 5 % of 120 is 6


def test_a_constant_feature_is_harmless_until_it_changes() -> None:
    frame = reference_frame()
    frame["f0"] = np.float32(1.0)
    base = null.baseline(reference.from_frame(frame), resamples=199)
    values = features(32, np.random.default_rng(9))
    values[:, 0] = 1.0
    assert detection.feature_drift(base, values, false_alarm_rate=0.05).level is not Level.DETECTED
    values[:16, 0] = 2.0
    drift = detection.feature_drift(base, values, false_alarm_rate=0.05)
    assert (drift.level, drift.features[0].name) == (Level.DETECTED, "f0")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((0, 12), np.float32), "shape"),
        (np.zeros((5, 3), np.float32), "shape"),
        (np.full((5, 12), np.nan, np.float32), "finite"),
    ],
)
def test_a_window_that_cannot_be_compared_is_refused(base: Baseline, values: np.ndarray, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        detection.feature_drift(base, values, false_alarm_rate=0.05)


def test_a_rate_that_the_resamples_cannot_hold_is_refused(base: Baseline) -> None:
    with pytest.raises(BadInput, match="false-alarm rate"):
        detection.feature_drift(base, features(32, np.random.default_rng(1)), false_alarm_rate=0.001)


@pytest.mark.parametrize(
    ("p_value", "level"), [(0.01, Level.DETECTED), (0.011, Level.SUSPECTED), (0.05, Level.SUSPECTED), (0.051, Level.OK)]
)
def test_levels_follow_the_stated_rate(p_value: float, level: Level) -> None:
    assert detection.level(p_value, 0.01) is level


def test_a_reference_without_recordings_is_refused() -> None:
    with pytest.raises(BadInput, match="recording"):
        reference.from_frame(reference_frame().drop(columns="recording"))


def test_a_reference_of_unknown_genres_is_refused() -> None:
    with pytest.raises(BadInput, match="polka"):
        reference.from_frame(reference_frame().assign(genre="polka"))


def test_rows_with_nan_are_left_out_of_the_reference() -> None:
    frame = reference_frame()
    frame.loc[:4, "f1"] = np.nan
    assert len(reference.from_frame(frame).values) == len(frame) - 5
    frame["f1"] = np.nan
    with pytest.raises(BadInput, match="0 usable rows"):
        reference.from_frame(frame)


def test_bookkeeping_columns_are_no_features() -> None:
    frame = reference_frame().assign(key="k", group="g", split="train", segment=1, feature_set_version="3")
    found = reference.from_frame(frame)
    assert found.columns == COLUMNS
    assert found.feature_set_version == "3"
