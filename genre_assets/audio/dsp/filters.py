"""Windows, filter banks and priors: constants of the features, computed once for each sample rate.

They reproduce librosa 0.11's defaults without importing it (its import costs more than a hundred clips); a test
compares them. The frame is 2,048 samples, the hop 512, both as in librosa.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FRAME = 2048
HOP = 512
BINS = FRAME // 2 + 1
OVERLAP = FRAME // HOP
MELS = 128
MFCCS = 20

_MEL_BREAK_HZ = 1000.0  # the Slaney mel scale: linear below, logarithmic above
_MEL_LINEAR_HZ = 200.0 / 3
_MEL_LOG_STEP = np.log(6.4) / 27.0


@cache
def hann() -> Floats:
    """The periodic Hann window, float32 [2048]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)


def hz_to_mel(hz: Doubles) -> Doubles:
    """Slaney's mel scale (Auditory Toolbox, 1998)."""
    above = np.log(np.maximum(hz, _MEL_BREAK_HZ) / _MEL_BREAK_HZ) / _MEL_LOG_STEP
    return np.where(hz < _MEL_BREAK_HZ, hz / _MEL_LINEAR_HZ, _MEL_BREAK_HZ / _MEL_LINEAR_HZ + above)


def mel_to_hz(mel: Doubles) -> Doubles:
    """Inverse of `hz_to_mel`."""
    break_mel = _MEL_BREAK_HZ / _MEL_LINEAR_HZ
    above = _MEL_BREAK_HZ * np.exp(_MEL_LOG_STEP * (np.maximum(mel, break_mel) - break_mel))
    return np.where(mel < break_mel, mel * _MEL_LINEAR_HZ, above)


@cache
def mel_bank(sample_rate: int) -> Floats:
    """Triangular filters of equal area (Slaney's normalisation), float32 [1025, 128]: `power @ mel_bank(rate)`."""
    edges = mel_to_hz(np.linspace(0.0, float(hz_to_mel(np.array(sample_rate / 2))), MELS + 2))
    ramps = edges[None, :] - np.fft.rfftfreq(FRAME, 1 / sample_rate)[:, None]
    widths = np.diff(edges)
    rising = -ramps[:, :-2] / widths[:-1]
    falling = ramps[:, 2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.ascontiguousarray(triangles * (2.0 / (edges[2:] - edges[:-2])), dtype=np.float32)


@cache
def mel_regions(sample_rate: int) -> list[tuple[slice, slice, Floats]]:
    """The mel bank in eight parts without most of its zeros: bands, bins, and the filters, float32 [bins, bands]."""
    bank = mel_bank(sample_rate)
    regions = []
    for first in range(0, MELS, MELS // 8):
        bands = slice(first, first + MELS // 8)
        used = np.flatnonzero(bank[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        regions.append((bands, bins, np.ascontiguousarray(bank[bins, bands])))
    return regions


@cache
def dct_basis() -> Floats:
    """The orthonormal DCT-II of 128 mel bands to 20 cepstral coefficients, float32 [128, 20]."""
    basis = scipy.fft.dct(np.eye(MELS), axis=0, type=2, norm="ortho")[:MFCCS]
    return np.ascontiguousarray(basis.T, dtype=np.float32)


@cache
def chroma_bank(sample_rate: int) -> Floats:
    """Which pitch class a bin's energy belongs to, float32 [1025, 12] (Ellis 2007, at A = 440 Hz).

    Each bin spreads over the pitch classes as a Gaussian of one semitone's width, weighted towards the octaves
    around 5/12 of the range where pitch is heard; as `librosa.filters.chroma` makes it.
    """
    frequencies = np.linspace(0, sample_rate, FRAME, endpoint=False)[1:]
    positions = 12 * np.log2(frequencies / (440.0 / 16))
    positions = np.concatenate(([positions[0] - 18.0], positions))
    widths = np.concatenate((np.maximum(positions[1:] - positions[:-1], 1.0), [1.0]))
    distance = positions[None, :] - np.arange(12, dtype=float)[:, None]
    distance = np.remainder(distance + 6 + 120, 12) - 6
    bank = np.exp(-0.5 * (2 * distance / widths) ** 2)
    bank /= np.sqrt(np.sum(bank**2, axis=0, keepdims=True))
    bank *= np.exp(-0.5 * ((positions / 12 - 5.0) / 2.0) ** 2)
    return np.ascontiguousarray(np.roll(bank, -3, axis=0)[:, :BINS].T, dtype=np.float32)


@dataclass(frozen=True)
class TempoPrior:
    """What the tempo estimate needs: lags are frames, `log_prior` is -inf where no tempo is allowed."""

    window: Floats  # [lags] Hann
    beats_per_minute: Doubles  # [lags]; infinite at lag 0
    log_prior: Doubles  # [lags]


@cache
def tempo_prior(sample_rate: int) -> TempoPrior:
    """Autocorrelation over 8 s; tempo is log-normal around 120 beats a minute, one octave wide, below 320."""
    lags = int(np.floor(8.0 * sample_rate / HOP))
    bpm = np.full(lags, np.inf)
    bpm[1:] = 60.0 * sample_rate / (HOP * np.arange(1.0, lags))
    log_prior = -0.5 * (np.log2(bpm) - np.log2(120.0)) ** 2
    log_prior[: int(np.argmax(bpm < 320.0))] = -np.inf
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(lags) / lags)
    return TempoPrior(window.astype(np.float32), bpm, log_prior)
