"""What is done to audio on purpose is what the names say, in a band, a level or a rate that one states."""

import numpy as np
import pytest
from scipy.signal import welch

from genre_assets.audio import perturbations

RATE = 22050
WHITE = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


def share_of_power(samples: np.ndarray, low: float, high: float) -> float:
    frequency, density = welch(samples, RATE, nperseg=4096)
    return float(density[(frequency >= low) & (frequency <= high)].sum() / density.sum())


@pytest.mark.parametrize(("low", "high"), [(0, 4000), (300, 1500)])
def test_a_brick_wall_leaves_nothing_outside_and_a_filter_little(low: float, high: float) -> None:
    assert share_of_power(WHITE, low, high) < 0.5
    wall = perturbations.brick_wall(WHITE, RATE, low, high)
    assert share_of_power(wall, max(0, low - 20), high + 20) > 0.999
    assert share_of_power(perturbations.band_limit(WHITE, RATE, low, high, order=8), low / 1.5, high * 1.5) > 0.99


def test_a_band_above_what_the_rate_can_hold_is_cut_to_it() -> None:
    narrow = perturbations.band_limit(WHITE[::4].copy(), RATE // 4, 200, 3400)
    assert np.isfinite(narrow).all()
    assert narrow.std() > 0.01


@pytest.mark.parametrize("decibels", [20, 25])
def test_noise_is_as_far_below_the_music_as_stated(decibels: float) -> None:
    added = perturbations.white_noise(WHITE, decibels, np.random.default_rng(1)) - WHITE
    assert 20 * np.log10(WHITE.std() / added.std()) == pytest.approx(decibels, abs=0.2)


def test_an_mp3_is_the_same_piece_and_worse_at_fewer_bits() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    heard, rate = perturbations.mp3(tone + 0.2 * WHITE[:RATE], RATE, 128_000)
    worse, _ = perturbations.mp3(tone + 0.2 * WHITE[:RATE], RATE, 16_000)
    assert (rate, len(heard)) == (RATE, RATE)
    assert share_of_power(heard, 430, 450) > 0.9
    assert share_of_power(worse, 5000, RATE / 2) < 0.1 * share_of_power(heard, 5000, RATE / 2)


def test_half_the_rate_and_a_cut_at_full_scale() -> None:
    halved, rate = perturbations.half_rate(WHITE, RATE)
    assert (rate, len(halved)) == (RATE // 2, len(WHITE) // 2)
    cut = perturbations.clipping(WHITE, 4)
    assert np.abs(cut).max() == 1
    assert (np.abs(cut) == 1).mean() > 0.1
    assert not perturbations.clipping(np.zeros(10, np.float32), 4).any()


def test_what_is_given_stays_as_it_is() -> None:
    before = WHITE.copy()
    perturbations.gain(WHITE, 0.5)
    perturbations.clipping(WHITE, 4)
    perturbations.brick_wall(WHITE, RATE, 300, 1500)
    perturbations.white_noise(WHITE, 20, np.random.default_rng(0))
    perturbations.mp3(WHITE, RATE, 32_000)
    np.testing.assert_array_equal(WHITE, before)
