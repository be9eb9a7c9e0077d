"""The feature set `gtzan37`: the 37 columns of the published GTZAN feature tables, from audio.

Means and variances over a whole clip. Peculiarities are kept, since equality with the tables is the point: cepstral
coefficients lose their sign before the statistics, bandwidth and rolloff are scaled to [0, 1] within the clip,
and every level depends on the gain of the recording.
"""

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.dsp import filters, rhythm, separation
from genre_assets.audio.dsp.filters import Doubles, Floats
from genre_assets.audio.dsp.spectrum import Spectrum

VERSION = "1"
COEFFICIENTS = 13
COLUMNS: tuple[str, ...] = (
    "rms_mean_0",
    "rms_var_0",
    "spectral_rolloff_mean_0",
    "spectral_rolloff_var_0",
    "spectral_bandwidth_mean_0",
    "spectral_bandwidth_var_0",
    "percussive_mean_0",
    "percussive_var_0",
    "harmonic_mean_0",
    "harmonic_var_0",
    "beat_track",
    *(f"mfcc_{statistic}_{k}" for k in reversed(range(COEFFICIENTS)) for statistic in ("mean", "var")),
)
_CHUNK = 4096  # samples summed in float32 before going on in float64


def compute(spectrum: Spectrum) -> Doubles:
    """The 37 values in the order of `COLUMNS`, float64.

    * `rms`: root mean square of the waveform in each frame.
    * `spectral_rolloff`: bin below which 85 % of the magnitude lies; `spectral_bandwidth`: deviation of the
      magnitude around its centroid; both scaled to [0, 1] within the clip.
    * `harmonic`, `percussive`: the separated waveforms (see `separation`).
    * `beat_track`: tempo in beats a minute (see `rhythm`).
    * `mfcc`: absolute values of the first 13 coefficients of the DCT of 128 mel bands in decibels (Davis &
      Mermelstein 1980).
    """
    onsets = rhythm.onset_strength(spectrum.mel_db)
    beats = rhythm.tempo(onsets, spectrum.sample_rate)
    cepstrum = np.abs(spectrum.mel_db @ filters.dct_basis()[:, :COEFFICIENTS]).astype(np.float64)
    harmonic = separation.harmonic_waveform(spectrum)
    percussive = spectrum.samples - harmonic
    values = [
        *_mean_and_variance(spectrum.rms),
        *_mean_and_variance(_scaled(spectrum.rolloff)),
        *_mean_and_variance(_scaled(spectrum.bandwidth)),
        *_waveform_mean_and_variance(percussive),
        *_waveform_mean_and_variance(harmonic),
        beats,
    ]
    for k in reversed(range(COEFFICIENTS)):
        values += _mean_and_variance(cepstrum[:, k])
    return np.array(values)


def _mean_and_variance(values: Doubles) -> tuple[float, float]:
    return float(values.mean()), float(values.var())


def _scaled(values: Doubles | NDArray[np.int64]) -> Doubles:
    """Min-max scaled to [0, 1]; a constant becomes 0."""
    lowest = float(values.min())
    spread = float(values.max()) - lowest
    scaled: Doubles = (values.astype(np.float64) - lowest) / (spread or 1.0)
    return scaled


def _waveform_mean_and_variance(wave: Floats) -> tuple[float, float]:
    """Exact sums at the speed of float32: chunks in float32, their totals in float64."""
    whole = len(wave) // _CHUNK * _CHUNK
    chunks, rest = wave[:whole].reshape(-1, _CHUNK), wave[whole:].astype(np.float64)
    total = chunks.sum(axis=1).sum(dtype=np.float64) + rest.sum()
    squares = np.einsum("ij,ij->i", chunks, chunks).sum(dtype=np.float64) + rest @ rest
    mean = float(total) / len(wave)
    return mean, max(0.0, float(squares) / len(wave) - mean * mean)
