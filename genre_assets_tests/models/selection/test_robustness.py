"""Perturbations do to audio what they say, go through the real extractor, and rank models."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from genre_assets.audio.extract import Limits
from genre_assets.genres import GENRES
from genre_assets.models.selection import robustness
from genre_assets.models.selection.robustness import (
    PERTURBATIONS,
    Perturbed,
    perturb_audio,
    perturb_features,
    robustness_of,
)
from genre_assets_tests.models.conftest import COLUMNS, synthetic_training_set

RATE = 22050


def music(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """A chord with an envelope and some noise."""
    random, t = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * f * t + random.random()) / f**0.5 for f in (110, 220, 331, 880, 2500, 7000))
    mixed = 0.02 * tones * (1 + np.sin(2 * np.pi * 2 * t)) + 0.001 * random.normal(size=len(t))
    return np.asarray(mixed, dtype=np.float32)


def wav(samples: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def power_above(samples: np.ndarray, rate: int, hertz: float) -> float:
    frequency, density = welch(samples, rate, nperseg=2048)
    return float(density[frequency > hertz].sum() / density.sum())


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_keeps_length_and_range_and_changes_something(name: str) -> None:
    before = music()
    after, rate = PERTURBATIONS[name](before, RATE)
    assert after.dtype == np.float32
    assert len(after) / rate == pytest.approx(len(before) / RATE, abs=0.1)
    assert np.abs(after).max() <= 1
    assert rate != RATE or not np.allclose(after, before[: len(after)], atol=1e-4)


def test_each_perturbation_does_what_its_name_says() -> None:
    before = music()
    changed = {name: perturbation(before, RATE) for name, perturbation in PERTURBATIONS.items()}
    assert np.abs(changed["gain"][0]).max() == pytest.approx(np.abs(before).max() / 4)
    assert power_above(before, RATE, 5000) > 100 * power_above(*changed["band_limit"], 5000)
    added = changed["noise"][0] - before
    assert 20 * np.log10(before.std() / added.std()) == pytest.approx(20, abs=0.5)
    assert changed["resample"][1] == RATE // 2
    assert (np.abs(changed["clipping"][0]) == 1).mean() > 0.01


def test_clips_become_a_row_for_each_perturbation() -> None:
    clips = [(wav(music(seed=0)), 1, "a"), (b"not audio", 2, "b"), (wav(music(seed=1)), 3, "c")]
    rows = perturb_audio(clips, feature_set="gtzan37", limits=Limits())
    assert rows is not None
    assert rows.features.shape == (2 * len(PERTURBATIONS), len(COLUMNS))
    assert set(rows.labels) == {1, 3}
    assert set(rows.names) == set(PERTURBATIONS)
    assert set(zip(rows.labels, rows.groups, strict=True)) == {(1, "a"), (3, "c")}


def test_without_a_readable_clip_there_is_nothing_to_judge_by() -> None:
    assert perturb_audio([(b"not audio", 0, "a")], feature_set="gtzan37", limits=Limits()) is None


def test_features_are_perturbed_in_units_of_their_spread() -> None:
    part = synthetic_training_set(8).part("train")
    rows = perturb_features(part, part, seed=0)
    moved = (rows.features - part.features).std(axis=0)
    spread = np.subtract(*np.percentile(part.features, [75, 25], axis=0))
    np.testing.assert_allclose(moved / spread, robustness.NOISE, rtol=0.4)


def test_the_model_that_bears_more_is_judged_more_robust() -> None:
    class Fixed:
        def __init__(self, answers: list[int]) -> None:
            self.answers = answers

        manifest = SimpleNamespace(labels=GENRES)

        def probabilities(self, _: Any) -> np.ndarray:
            return np.eye(10)[self.answers]

    names = np.array(["gain", "noise", "gain", "noise"])
    rows = Perturbed(np.zeros((4, 1), np.float32), np.array([0, 0, 1, 1]), names, np.array(["a", "a", "b", "b"]))
    sturdy, frail = robustness_of(Fixed([0, 0, 1, 0]), rows), robustness_of(Fixed([0, 0, 0, 0]), rows)  # type: ignore[arg-type]
    assert sturdy.objective > frail.objective > 0
    assert sturdy.accuracy == {"gain": 1.0, "noise": 0.5}


def test_clips_are_taken_from_the_genres_in_turn() -> None:
    keys = {"a/2": 0, "a/1": 0, "a/3": 0, "b/1": 1}
    assert robustness.spread_over_genres(keys, 3) == ["a/1", "b/1", "a/2"]
    assert len(robustness.spread_over_genres(keys, 99)) == 4
