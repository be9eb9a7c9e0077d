"""One short-time Fourier transform, and everything that is read off its frames while they are in the cache.

The clip is transformed once, in blocks of frames; magnitude, mel energies and the shape of each spectrum are taken from
the block before it leaves the cache. Frames are centred and padded with zeros, as in `librosa.stft`.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.dsp.filters import BINS, FRAME, HOP, MELS, OVERLAP, Doubles, Floats

BLOCK = 48  # frames transformed at a time: their spectra fit in the second-level cache
TRIM_DB = 60.0  # below the loudest frame
ROLLOFF_SHARE = np.float32(0.85)
TINY = 1.18e-38
DYNAMIC_RANGE_DB = 80.0


@dataclass(frozen=True)
class Spectrum:
    """The frames of a trimmed clip. T frames; frequencies are in bins (hertz times the frame's length over the sample rate)."""

    samples: Floats  # [n]
    sample_rate: int
    rms: Doubles  # [T] of the waveform, in the frames of the transform
    transform: list[NDArray[np.complex64]]  # [T, 1025], in blocks of BLOCK frames
    magnitude: Floats  # [T, 1025]
    mel_db: Floats  # [T, 128], decibels, at most 80 below the loudest
    centroid: Doubles  # [T] bins
    bandwidth: Doubles  # [T] bins
    rolloff: NDArray[np.int64]  # [T] bins
    chroma: Floats | None  # [T, 12] energies, if asked for

    @property
    def frames(self) -> int:
        """T."""
        return len(self.magnitude)


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


def analyse(samples: Floats, sample_rate: int, *, chroma: bool = False) -> Spectrum:
    """Trim a mono waveform (float32 [n], n > 0) and transform it."""
    samples, padded, rms = trim(samples)
    frames = frame_count(len(samples))
    framed = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    window = filters.hann()
    mel_bank = filters.mel_bank(sample_rate)
    chroma_bank = filters.chroma_bank(sample_rate) if chroma else None
    compiled = kernel.load()
    read_block = partial(compiled.read_frames, sample_rate=sample_rate) if compiled else partial(_read, mel_bank)
    transform: list[NDArray[np.complex64]] = []
    magnitude = np.empty((frames, BINS), np.float32)
    mel = np.empty((frames, MELS), np.float32)
    moments = np.empty((frames, 3), np.float32)
    rolloff = np.empty(frames, np.int64)
    chroma_energy = np.empty((frames, 12), np.float32) if chroma else None
    for start in range(0, frames, BLOCK):
        block = slice(start, min(start + BLOCK, frames))
        spectrum = scipy.fft.rfft(framed[block] * window, axis=1)
        transform.append(spectrum)
        power = read_block(
            spectrum,
            magnitude=magnitude[block],
            moments=moments[block],
            rolloff=rolloff[block],
            mel=mel[block],
        )
        if chroma_bank is not None and chroma_energy is not None:
            np.matmul(power, chroma_bank, out=chroma_energy[block])
    centroid, bandwidth = _centroid_and_bandwidth(moments.astype(np.float64))
    return Spectrum(
        samples, sample_rate, rms, transform, magnitude, decibels(mel), centroid, bandwidth, rolloff, chroma_energy
    )


def _read(
    mel_bank: Floats,
    spectrum: NDArray[np.complex64],
    *,
    magnitude: Floats,
    moments: Floats,
    rolloff: NDArray[np.int64],
    mel: Floats,
) -> Floats:
    """Fill the arguments from a block of spectra; returns the power, [frames, 1025]."""
    parts = np.square(spectrum.view(np.float32))
    power: Floats = parts[:, ::2] + parts[:, 1::2]
    np.matmul(power, mel_bank, out=mel)
    np.sqrt(power, out=magnitude)
    np.matmul(magnitude, _powers_of_frequency(), out=moments)
    cumulative = np.cumsum(magnitude, axis=1)
    rolloff[:] = np.argmax(cumulative >= ROLLOFF_SHARE * cumulative[:, -1:], axis=1)
    return power


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
