"""The compiled kernel gives what NumPy gives, and its absence is silent."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio import extract
from genre_assets.audio.dsp import kernel
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.dsp.median_filter import median_rows
from genre_assets.audio.dsp.separation import harmonic_mask
from genre_assets_tests.audio.sounds import music

compiled = pytest.mark.skipif(kernel.load() is None, reason="no C compiler here: extraction runs on NumPy")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, and no kernel loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel, "_load", kernel._load.__wrapped__)
    return tmp_path


@compiled
@pytest.mark.parametrize("shape", [(1292, 1025), (431, 1025), (16, 70), (15, 64), (3, 5), (1, 1)])
def test_the_compiled_median_is_bit_identical(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(2).random(shape, dtype=np.float32)
    found = kernel.load()
    assert found is not None
    np.testing.assert_array_equal(found.median_rows(values), median_rows(values))


@compiled
@pytest.mark.parametrize("frames", [1, 15, 17, 64, 431])
def test_the_compiled_mask_is_that_of_numpy(frames: int) -> None:
    magnitude = np.random.default_rng(3).random((frames, 1025), dtype=np.float32)
    magnitude[:, 100:180] = 0  # nothing there: one half
    with kernel.disabled():
        expected = harmonic_mask(magnitude)
    np.testing.assert_allclose(harmonic_mask(magnitude), expected, atol=1e-6)


@compiled
@pytest.mark.parametrize("feature_set", ["gtzan37", "default"])
@pytest.mark.parametrize("sound", [music(10, seed=4), music(0.3, seed=5), np.zeros(3000, np.float32)])
def test_features_are_the_same_with_and_without_it(feature_set: str, sound: Floats) -> None:
    with kernel.disabled():
        expected = extract.extract(sound, 22_050, feature_set=feature_set)
    np.testing.assert_allclose(extract.extract(sound, 22_050, feature_set=feature_set), expected, rtol=2e-4, atol=1e-5)


def test_without_a_compiler_extraction_goes_on(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert kernel.load() is None
    assert np.isfinite(extract.extract(music(1), 22_050)).all()


def test_a_compiler_that_fails_is_no_error(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/bin/false")
    assert kernel.load() is None


@compiled
def test_it_is_compiled_once_and_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel.compiled()
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert kernel.compiled() == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_library_where_others_can_write_is_not_loaded(fresh: Path) -> None:
    folder = fresh / "genre_assets"
    folder.mkdir()
    folder.chmod(0o777)
    assert kernel.load() is None


@compiled
def test_a_library_that_computes_something_else_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.Kernel, "median_rows", lambda _self, values: values)
    assert kernel.load() is None
