"""The compiled kernel gives what NumPy gives, at every level of vector instructions, and its absence is silent."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio import extract
from genre_assets.audio.dsp import compiler, kernel, rhythm, separation
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.dsp.median_filter import median_rows
from genre_assets.audio.dsp.spectrum import Grid, Spectrum, analyse
from genre_assets_tests.audio.sounds import music

compiled = pytest.mark.skipif(kernel.load() is None, reason="no C compiler here: extraction runs on NumPy")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, and no kernel loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel, "_load", kernel._load.__wrapped__)
    return tmp_path


def at_level(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel run with the vector instructions of a level, if the processor at hand has them."""
    if level not in compiler.usable_levels():
        pytest.skip(f"this processor has no {level}")
    found = kernel.Kernel(compiler.compiled(level))
    monkeypatch.setattr(kernel, "_load", lambda: found)


def both(sound: Floats) -> tuple[Spectrum, Spectrum]:
    """A clip as the kernel reads it, and as NumPy does."""
    with kernel.disabled():
        expected = analyse(sound, 22_050, chroma=True, waveform=True)
    found = analyse(sound, 22_050, chroma=True, waveform=True)
    assert isinstance(found.cells, kernel.Reading)
    assert isinstance(expected.cells, Grid)
    return found, expected


def frames_of(cells: Floats, frames: int, before: int = 0) -> Floats:
    """Cells of the kernel as [frames, 1025]."""
    blocks = cells.reshape(kernel.CHUNKS, -1, kernel.CHUNK)[:, before : before + frames]
    return blocks.transpose(1, 0, 2).reshape(frames, -1)[:, :1025]


@compiled
@pytest.mark.parametrize("level", compiler.levels())
@pytest.mark.parametrize("samples", [1, 7_700, 8_200, 40_000])
def test_a_clip_is_read_as_numpy_reads_it(level: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_level(level, monkeypatch)
    found, expected = both(music(2, seed=6)[2_000 : 2_000 + samples])
    assert isinstance(found.cells, kernel.Reading)
    assert isinstance(expected.cells, Grid)
    magnitude = frames_of(found.cells.magnitude, found.frames, before=compiler.WINDOW // 2)
    loudest = magnitude.max()
    np.testing.assert_allclose(magnitude, expected.cells.magnitude, atol=1e-6 * loudest)
    np.testing.assert_array_equal(
        frames_of(found.cells.percussive, found.frames), median_rows(np.ascontiguousarray(magnitude.T)).T
    )
    assert found.mel_db is not None
    assert expected.mel_db is not None
    np.testing.assert_allclose(found.mel_db, expected.mel_db, atol=1e-3)
    np.testing.assert_allclose(found.centroid, expected.centroid, rtol=1e-4)
    np.testing.assert_allclose(found.bandwidth, expected.bandwidth, rtol=1e-4)
    np.testing.assert_array_equal(found.rolloff, expected.rolloff)
    assert found.chroma is not None
    assert expected.chroma is not None
    np.testing.assert_allclose(found.chroma, expected.chroma, rtol=1e-4)
    np.testing.assert_allclose(separation.harmonic_share(found), separation.harmonic_share(expected), atol=1e-5)
    wave, theirs = separation.harmonic_waveform(found), separation.harmonic_waveform(expected)
    assert wave is not None
    assert theirs is not None
    np.testing.assert_allclose(wave, theirs, atol=1e-5 * np.abs(theirs).max())


@compiled
@pytest.mark.parametrize("level", compiler.levels())
@pytest.mark.parametrize("samples", [1, 8_200, 40_000])
def test_spectra_are_those_of_scipy_bit_by_bit(level: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_level(level, monkeypatch)
    found, expected = both(music(2, seed=6)[2_000 : 2_000 + samples])
    assert isinstance(found.cells, kernel.Reading)
    assert found.cells.spectrum is not None
    assert isinstance(expected.cells, Grid)
    parts = found.cells.spectrum.reshape(-1, 1025, 2, compiler.TILE).transpose(0, 3, 1, 2).reshape(-1, 2050)
    theirs = np.concatenate(expected.cells.transform).view(np.float32)
    fused = 0.0 if "sse2" in compiler.levels() else 1e-6 * np.abs(theirs).max()  # SciPy's own, where all processors can
    np.testing.assert_allclose(parts[: found.frames], theirs, rtol=0, atol=fused)


@compiled
def test_where_there_is_nothing_half_is_harmonic() -> None:
    found, expected = both(np.pad(np.ones(1, np.float32), (3_000, 30_000)))
    np.testing.assert_allclose(separation.harmonic_share(found), separation.harmonic_share(expected), atol=1e-5)


@compiled
@pytest.mark.parametrize("level", compiler.levels())
@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_onsets_and_tempo_are_those_of_numpy(level: str, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at_level(level, monkeypatch)
    mel_db = analyse(music(3, seed=8, rate=rate), rate).mel_db
    onsets = rhythm.onset_strength(mel_db)
    found = rhythm.mean_tempogram(onsets, rate)
    with kernel.disabled():
        np.testing.assert_array_equal(onsets, rhythm.onset_strength(mel_db))
        np.testing.assert_allclose(found, rhythm.mean_tempogram(onsets, rate), atol=1e-5)


@compiled
@pytest.mark.parametrize("level", compiler.levels())
def test_contrasts_are_those_of_numpy(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_level(level, monkeypatch)
    mel_db = np.random.default_rng(3).normal(-30, 20, (45, 128)).astype(np.float32)
    bands = np.sort(mel_db.reshape(45, 8, 16), axis=2)
    found = kernel.Kernel(compiler.compiled(level)).contrast(mel_db, 8)
    np.testing.assert_allclose(found, bands[:, :, 12:].mean(axis=2) - bands[:, :, :4].mean(axis=2), rtol=1e-5)


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
    level = compiler.usable_levels()[0]
    first = compiler.compiled(level)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert compiler.compiled(level) == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_library_where_others_can_write_is_not_loaded(fresh: Path) -> None:
    folder = fresh / "genre_assets"
    folder.mkdir()
    folder.chmod(0o777)
    assert kernel.load() is None


@compiled
def test_a_library_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_load", kernel._load.__wrapped__)
    monkeypatch.setattr(kernel.Kernel, "harmonic_energy", lambda _self, cells: np.ones((cells.frames, 2)))
    assert kernel.load() is None


@compiled
def test_a_processor_is_given_no_instruction_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_processor", lambda: {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})
    assert "avx512" not in compiler.usable_levels()
    monkeypatch.setattr(compiler, "_processor", lambda: set())
    assert len(compiler.usable_levels()) == 1
    assert kernel.Kernel(compiler.compiled(compiler.usable_levels()[0]))
