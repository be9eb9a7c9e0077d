"""The running median must be exact: every feature behind the separation depends on it."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_assets.audio.dsp import median_network
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.dsp.median_filter import median_rows


def by_scipy(values: Floats) -> Floats:
    result: Floats = scipy.ndimage.median_filter(values, size=(31, 1), mode="reflect")
    return result


def by_definition(values: Floats) -> Floats:
    """The median of each mirrored window. (SciPy mirrors lines that are shorter than half a window in another way.)"""
    rows = len(values)
    there_and_back = np.concatenate((values, values[::-1]))
    windows = [there_and_back[np.arange(row - 15, row + 16) % (2 * rows)] for row in range(rows)]
    return np.stack([np.median(window, axis=0) for window in windows])


@pytest.mark.parametrize("shape", [(431, 1025), (1025, 431), (40, 3), (31, 1), (17, 2)])
def test_the_median_is_bit_identical_to_scipys(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).random(shape, dtype=np.float32)
    np.testing.assert_array_equal(median_rows(values), by_scipy(values))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 90), columns=st.integers(1, 5), levels=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_the_median_is_exact_with_ties_and_with_clips_shorter_than_the_window(
    rows: int, columns: int, levels: int, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float32)
    np.testing.assert_array_equal(median_rows(values), by_definition(values))


def test_sharing_a_core_makes_each_output_several_times_cheaper() -> None:
    alone, shared = median_network.build(31, 1), median_network.build(31, 16)
    assert len(shared.steps) / 16 < len(alone.steps) / 8


@pytest.mark.parametrize(("window", "outputs"), [(30, 8), (31, 6), (31, 32)])
def test_a_network_that_cannot_be_built_is_refused(window: int, outputs: int) -> None:
    with pytest.raises(ValueError, match="no network"):
        median_network.build(window, outputs)
