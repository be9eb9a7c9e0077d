"""What the model answered, against its own out-of-fold answers; a calibrated toy model on synthetic genres."""

from dataclasses import replace

import numpy as np
import pytest

from genre_assets.genres import GENRES
from genre_assets.serving.drift import answers, detection, null, reference
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import of_latency
from genre_assets.serving.drift.null import Baseline, Undrifted
from genre_assets_tests.serving.drift.data import CENTRES, features, reference_frame


def toy_model(values: np.ndarray) -> np.ndarray:
    """Bayes' rule for the generator of `features`: calibrated by construction."""
    distances = ((3 * np.log(values)[:, None, :] - CENTRES) ** 2).sum(axis=2) / (2 * (0.7**2 + 0.5**2))
    odds = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / 4)  # blunted, so that it errs now and then
    probabilities: np.ndarray = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


@pytest.fixture(scope="module")
def base() -> Baseline:
    frame = reference_frame(300, 1)
    known = toy_model(frame[[f"f{i}" for i in range(12)]].to_numpy(np.float32))
    for index, genre in enumerate(GENRES):
        frame[f"prob_{genre}"] = known[:, index]
    return null.baseline(reference.from_frame(frame), resamples=199)


def undrifted(base: Baseline, values: np.ndarray) -> Undrifted:
    return detection.feature_drift(base, values, false_alarm_rate=0.05).undrifted


def window(seed: int, genre: int | None = None, n: int = 64) -> np.ndarray:
    genres = None if genre is None else np.full(n, genre)
    return features(n, np.random.default_rng(seed), genres)


def test_usual_answers_are_neither_another_mix_nor_another_confidence(base: Baseline) -> None:
    alarms = 0
    for seed in range(10):
        values = window(seed)
        resampled, given = undrifted(base, values), toy_model(values)
        alarms += answers.label_mix(base.reference, resampled, given, 0.05).level is Level.DETECTED
        alarms += answers.confidence(base.reference, resampled, given, 0.05).level is Level.DETECTED
    assert alarms <= 4  # 5 % of 20 is one


def test_an_album_of_one_genre_is_no_changed_mix(base: Baseline) -> None:
    values = window(3, genre=6)
    found = answers.label_mix(base.reference, undrifted(base, values), toy_model(values), 0.01)
    assert found.level is not Level.DETECTED
    assert max(found.values["labels"], key=found.values["labels"].get) == "metal"


def test_a_model_that_answers_one_genre_to_everything_is_found(base: Baseline) -> None:
    values = window(4)
    stuck = np.tile(np.eye(10, dtype=np.float32)[9] * 0.55 + 0.05, (64, 1))
    assert answers.label_mix(base.reference, undrifted(base, values), stuck, 0.01).level is Level.DETECTED


@pytest.mark.parametrize(("blunt", "expected"), [(0.4, Level.DETECTED), (6.0, Level.SUSPECTED)])
def test_less_confidence_than_usual_is_an_error_and_more_a_warning(
    base: Baseline, blunt: float, expected: Level
) -> None:
    values = window(5)
    given = (toy_model(values) ** blunt).astype(np.float32)
    given /= given.sum(axis=1, keepdims=True)
    assert answers.confidence(base.reference, undrifted(base, values), given, 0.01).level is expected


@pytest.mark.parametrize(("surer_by", "expected"), [(0.02, Level.OK), (0.08, Level.SUSPECTED)])
def test_a_hair_more_of_confidence_is_nothing_to_tell(base: Baseline, surer_by: float, expected: Level) -> None:
    values = window(5)
    resampled = undrifted(base, values)
    known = np.full((len(base.reference.genre), 10), 0.15 / 9, np.float32)
    known[np.arange(len(known)), base.reference.genre] = 0.85
    given = np.tile(np.full(10, (0.15 - surer_by) / 9, np.float32), (64, 1))
    given[:, 0] = 0.85 + surer_by
    found = answers.confidence(replace(base.reference, probabilities=known), resampled, given, 0.01)
    assert (found.level, found.values["p_value"] < 0.01) == (expected, True)


def test_the_estimated_accuracy_holds_the_true_one_as_often_as_its_interval_says(base: Baseline) -> None:
    held = 0
    for seed in range(60):
        genres = np.random.default_rng(1000 + seed).integers(0, 10, 64)
        given = toy_model(features(64, np.random.default_rng(2000 + seed), genres))
        estimate, _ = answers.estimated_accuracy(base.reference, given)
        held += estimate.low <= (given.argmax(axis=1) == genres).mean() <= estimate.high
    assert held >= 52  # 95 % of 60 is 57


def test_overconfidence_on_the_training_data_is_taken_off_the_estimate(base: Baseline) -> None:
    """One training row in five is labelled otherwise, so the model is right less often than it believes."""
    genre = np.where(np.arange(300) % 5 == 0, (base.reference.genre + 1) % 10, base.reference.genre)
    boastful = replace(base.reference, genre=genre)
    given = toy_model(window(6))
    estimate, usual = answers.estimated_accuracy(boastful, given)
    assert given.max(axis=1).mean() > 0.85
    assert estimate.value == pytest.approx(0.8, abs=0.07)
    assert usual < 0.82


def test_answers_that_are_hardly_better_than_a_guess_are_low_accuracy(base: Baseline) -> None:
    guess = np.full((64, 10), 0.08, np.float32)
    guess[:, 0] = 0.28
    assert answers.of_estimated_accuracy(base.reference, guess).level is Level.DETECTED
    assert answers.of_estimated_accuracy(base.reference, toy_model(window(7))).level is Level.OK


def test_labels_give_accuracy_g_mean_and_the_estimates_error() -> None:
    truth = np.array([0] * 10 + [1] * 10)
    answered = np.array([0] * 9 + [1] + [1] * 6 + [0] * 4)
    found = answers.of_labels(truth, answered, {"accuracy": 0.8, "usual": 0.8}, 32)
    assert found.values["accuracy"] == 0.75
    assert found.values["g_mean"] == pytest.approx(np.sqrt(0.9 * 0.6), abs=1e-4)
    assert found.values["estimate_error"] == pytest.approx(0.05)
    assert found.level is Level.OK
    assert answers.of_labels(truth, 1 - truth, {"accuracy": 0.8, "usual": 0.8}, 32).level is Level.DETECTED
    assert answers.of_labels(truth, 1 - truth, None, 32).values["g_mean"] == 0.0


def test_latency_is_judged_against_earlier_windows() -> None:
    usual = [30.0] * 64
    assert of_latency(usual, []).level is Level.OK
    assert of_latency(usual, [30.0, 31.0]).level is Level.OK
    assert of_latency([90.0] * 64, [30.0, 31.0]).level is Level.SUSPECTED
    assert of_latency([200.0] * 64, [30.0, 31.0]).level is Level.DETECTED
    assert of_latency([4.0] * 64, [1.0]).level is Level.OK, "three milliseconds more are nobody's business"
    assert of_latency([], []).level is Level.INCONCLUSIVE
