"""One short-time Fourier transform, and everything that is read off its frames while they are in the cache.

The clip is transformed once, in blocks of frames; magnitude, mel energies and the shape of each spectrum are taken from
the block before it leaves the cache, by the kernel or, without one, by NumPy. Frames are centred and padded with zeros, as
in `librosa.stft`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.dsp.filters import BINS, FRAME, HOP, MELS, OVERLAP, Doubles, Floats

BLOCK = 48  # frames transformed at a time: their spectra fit in the second-level cache
TRIM_DB = 60.0  # below the loudest frame
ROLLOFF_SHARE = np.float32(0.85)
STRETCH = 41  # bins; the 1025 are 25 of them
TINY = 1.18e-38
DYNAMIC_RANGE_DB = 80.0


@dataclass(frozen=True)
class Grid:
    """The spectrogram as separation on NumPy wants it. `transform` is empty where no waveform is asked for."""

    magnitude: Floats  # [T, 1025]
    transform: list[NDArray[np.complex64]]  # [T, 1025], in blocks of BLOCK frames


@dataclass(frozen=True)
class Spectrum:
    """The frames of a trimmed clip. T frames; frequencies are in bins (hertz times the frame's length over the sample rate)."""

    samples: Floats  # [n]
    sample_rate: int
    rms: Doubles  # [T] of the waveform, in the frames of the transform
    cells: kernel.Reading | Grid  # the kernel's if it read the clip
    mel_db: Floats  # [T, 128], decibels, at most 80 below the loudest
    centroid: Doubles  # [T] bins
    bandwidth: Doubles  # [T] bins
    rolloff: NDArray[np.int64]  # [T] bins
    chroma: Floats | None  # [T, 12] energies, if asked for

    @property
    def frames(self) -> int:
        """T."""
        return len(self.rms)


def frame_count(samples: int) -> int:
    """How many centred frames a waveform of so many samples has."""
    return 1 + samples // HOP


def _pad(samples: Floats) -> Floats:
    """Half a frame of zeros before, enough after for the last frame; the length is a multiple of the hop."""
    padded = np.zeros((frame_count(len(samples)) + OVERLAP - 1) * HOP, np.float32)
    kept = min(len(samples), len(padded) - FRAME // 2)
    padded[FRAME // 2 : FRAME // 2 + kept] = samples[:kept]
    return padded


def _frame_rms(padded: Floats) -> Doubles:
    """Root mean square of every frame, from the energies of the hops that it is made of."""
    hops = padded.reshape(-1, HOP)
    energy = np.einsum("ij,ij->i", hops, hops).astype(np.float64)
    rms: Doubles = np.sqrt((energy[:-3] + energy[1:-2] + energy[2:-1] + energy[3:]) / FRAME)
    return rms


def trim(samples: Floats) -> tuple[Floats, Floats, Doubles]:
    """Cut silence off both ends: what is more than 60 dB below the loudest frame (`librosa.effects.trim`).

    Returns the trimmed samples, the same padded for framing, and the RMS of their frames.
    """
    padded = _pad(samples)
    rms = _frame_rms(padded)
    floor = 1e-5
    level = 20 * np.log10(np.maximum(floor, rms) / max(floor, float(rms.max())))
    loud = np.flatnonzero(level > -TRIM_DB)
    start, end = loud[0] * HOP, min(len(samples), (loud[-1] + 1) * HOP)
    if (start, end) == (0, len(samples)):
        return samples, padded, rms
    trimmed = samples[start:end]
    padded = _pad(trimmed)
    return trimmed, padded, _frame_rms(padded)


def decibels(mel: Floats) -> Floats:
    """Power to decibels in place, cut at 80 below the maximum (`librosa.power_to_db`)."""
    np.maximum(mel, 1e-10, out=mel)
    np.log10(mel, out=mel)
    mel *= 10
    np.maximum(mel, mel.max() - DYNAMIC_RANGE_DB, out=mel)
    return mel


def analyse(samples: Floats, sample_rate: int, *, chroma: bool = False, waveform: bool = False) -> Spectrum:
    """Trim a mono waveform (float32 [n], n > 0) and transform it.

    `chroma` asks for the pitch classes, `waveform` for what `separation.harmonic_waveform` needs.
    """
    samples, padded, rms = trim(samples)
    compiled = kernel.load()
    if compiled is not None:
        read = compiled.reading(len(rms), sample_rate, chroma=chroma, waveform=waveform)
        compiled.read_frames(padded, read)
        centroid, variance, rolloff = read.shape.T.astype(np.float64)
        bandwidth = np.sqrt(variance) * (BINS - 1)
        mel_db = decibels(read.mel[: len(rms)])
        return Spectrum(
            samples,
            sample_rate,
            rms,
            read,
            mel_db,
            centroid * (BINS - 1),
            bandwidth,
            rolloff.astype(np.int64),
            read.chroma,
        )
    mel, moments, rolloff, chroma_energy, grid = _read(padded, sample_rate, chroma, waveform)
    centroid, bandwidth = _centroid_and_bandwidth(moments.astype(np.float64))
    return Spectrum(samples, sample_rate, rms, grid, decibels(mel), centroid, bandwidth, rolloff, chroma_energy)


def _transformed(padded: Floats) -> Iterator[tuple[int, NDArray[np.complex64]]]:
    """The spectra of the frames, [BLOCK, 1025] at a time, and the first frame of each block."""
    framed = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = filters.hann()
    for start in range(0, len(framed), BLOCK):
        yield start, scipy.fft.rfft(framed[start : start + BLOCK] * window, axis=1, overwrite_x=True)


def _read(
    padded: Floats, sample_rate: int, chroma: bool, waveform: bool
) -> tuple[Floats, Floats, NDArray[np.int64], Floats | None, Grid]:
    """Mel energies, moments of the magnitude, rolloff, chroma energies and the grid, in NumPy."""
    frames = len(padded) // HOP - OVERLAP + 1
    transform: list[NDArray[np.complex64]] = []
    magnitude = np.empty((frames, BINS), np.float32)
    mel = np.empty((frames, MELS), np.float32)
    moments = np.empty((frames, 3), np.float32)
    sums = np.empty((frames, BINS // STRETCH), np.float32)
    one = np.ones(STRETCH, np.float32)
    chroma_energy = np.empty((frames, 12), np.float32) if chroma else None
    for start, spectrum in _transformed(padded):
        block = slice(start, start + len(spectrum))
        if waveform:
            transform.append(spectrum)
        parts = np.square(spectrum.view(np.float32))
        power = parts[:, ::2] + parts[:, 1::2]
        for bands, bins, bank in filters.mel_regions(sample_rate):
            mel[block, bands] = power[:, bins] @ bank
        np.sqrt(power, out=magnitude[block])
        np.matmul(magnitude[block], _powers_of_frequency(), out=moments[block])
        sums[block] = (magnitude[block].reshape(-1, STRETCH) @ one).reshape(len(spectrum), -1)
        if chroma_energy is not None:
            np.matmul(power, filters.chroma_bank(sample_rate), out=chroma_energy[block])
    return mel, moments, _rolloff(magnitude, sums), chroma_energy, Grid(magnitude, transform)


def _rolloff(magnitude: Floats, sums: Floats) -> NDArray[np.int64]:
    """The first bin up to which `ROLLOFF_SHARE` of each frame's magnitude lies, in sums from left to right.

    The `sums` of stretches, [T, 25], find it several times faster; a frame where rounding could decide is summed as it is defined.
    """
    frames = np.arange(len(magnitude))
    stretches = magnitude.reshape(len(magnitude), -1, STRETCH)
    before = np.zeros((len(magnitude), stretches.shape[1] + 1), np.float32)
    np.cumsum(sums, axis=1, out=before[:, 1:])
    limit = ROLLOFF_SHARE * before[:, -1]
    stretch = np.minimum(np.count_nonzero(before[:, 1:] < limit[:, None], axis=1), stretches.shape[1] - 1)
    within = before[frames, stretch][:, None] + np.cumsum(stretches[frames, stretch], axis=1)
    place = np.count_nonzero(within < limit[:, None], axis=1)
    near = np.abs(within - limit[:, None]).min(axis=1) <= 2e-5 * before[:, -1]
    near |= np.abs(before - limit[:, None]).min(axis=1) <= 2e-5 * before[:, -1]
    rolloff: NDArray[np.int64] = stretch * STRETCH + place
    if near.any():
        cumulative = np.cumsum(magnitude[near], axis=1)
        rolloff[near] = np.argmax(cumulative >= ROLLOFF_SHARE * cumulative[:, -1:], axis=1)
    return rolloff


@cache
def _powers_of_frequency() -> Floats:
    """Frequency to the powers 0, 1 and 2, in units of the highest, float32 [1025, 3]."""
    bins = np.arange(BINS, dtype=np.float32) / np.float32(BINS - 1)
    return np.stack([np.ones_like(bins), bins, bins * bins], axis=1)


def _centroid_and_bandwidth(moments: Doubles) -> tuple[Doubles, Doubles]:
    """First moment and deviation of the magnitude over frequency (Klapuri & Davy 2006), in bins; 0 in silence."""
    total = np.where(moments[:, 0] < TINY, 1.0, moments[:, 0])
    centroid = moments[:, 1] / total
    bandwidth = np.sqrt(np.maximum(moments[:, 2] / total - centroid**2, 0.0))
    return centroid * (BINS - 1), bandwidth * (BINS - 1)
