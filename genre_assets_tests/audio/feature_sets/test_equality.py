"""`gtzan37` gives the reference's values: as librosa 0.11 computes them the long way, and near the published tables."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.extract import FEATURE_SETS, extract
from genre_assets.audio.feature_sets import equality
from genre_assets_tests.audio.sounds import NO_SUBSET, SUBSET, music

RATES = [8_000, 22_050, 44_100, 48_000]


@pytest.mark.parametrize("rate", RATES)
def test_filter_banks_are_librosas(rate: int) -> None:
    librosa: Any = importlib.import_module("librosa")
    assert np.abs(filters.mel_bank(rate).T - librosa.filters.mel(sr=rate, n_fft=2048)).max() < 1e-8
    assert np.abs(filters.chroma_bank(rate).T - librosa.filters.chroma(sr=rate, n_fft=2048)).max() < 1e-6
    lags = len(filters.tempo_prior(rate).beats_per_minute)
    expected = librosa.tempo_frequencies(lags, hop_length=512, sr=rate)
    np.testing.assert_allclose(filters.tempo_prior(rate).beats_per_minute, expected)


@pytest.mark.parametrize("with_kernel", [True, False], ids=["kernel", "NumPy"])
@pytest.mark.parametrize("seed", [1, 2])
def test_synthetic_music_gives_librosas_values(seed: int, with_kernel: bool) -> None:
    check(music(8, seed=seed), 22_050, with_kernel)


@pytest.mark.skipif(not SUBSET.exists(), reason=NO_SUBSET)
@pytest.mark.parametrize("name", ["blues/blues.00000", "metal/metal.00001"])
def test_real_music_gives_librosas_values(name: str) -> None:
    clip = decode(Path(SUBSET) / f"{name}.wav", max_seconds=10)
    check(clip.samples, clip.sample_rate, with_kernel=True)


def check(samples: np.ndarray, rate: int, with_kernel: bool) -> None:
    expected = equality.by_librosa(samples, rate)
    if with_kernel:
        found = extract(samples, rate, feature_set="gtzan37")
    else:
        with kernel.disabled():
            found = extract(samples, rate, feature_set="gtzan37")
    for column, value in zip(FEATURE_SETS["gtzan37"].columns, found.tolist(), strict=True):
        assert equality.within_tolerance(column, value, expected[column]), (column, value, expected[column])


def test_tolerances_can_fail() -> None:
    assert not equality.within_tolerance("mfcc_mean_0", 1.0003, 1.0)
    assert not equality.within_tolerance("harmonic_mean_0", 2e-8, 0.0)
    assert not equality.within_tolerance("beat_track", 120.0001, 120.0)
