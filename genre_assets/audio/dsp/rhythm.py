"""Onsets and tempo, from the mel spectrogram in decibels."""

import numpy as np
import scipy

from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.dsp.filters import FRAME, HOP, Doubles, Floats
from genre_assets.audio.dsp.spectrum import TINY

BLOCK = 96  # autocorrelation windows transformed at a time
ONSET_DELAY = 1 + FRAME // (2 * HOP)  # frames: the difference's own, and half a transform


def onset_strength(mel_db: Floats) -> Floats:
    """How much a frame is louder than the one before: median over the mel bands of the rise, float32 [T].

    Spectral flux (Böck & Widmer 2013) as `librosa.onset.onset_strength(..., aggregate=numpy.median)` defines it.
    """
    frames, bands = mel_db.shape
    strength = np.zeros(frames, np.float32)
    if frames <= ONSET_DELAY:
        return strength
    compiled = kernel.load()
    if compiled is not None:
        median = compiled.median_rise(mel_db)
    else:
        rise = np.maximum(mel_db[1:] - mel_db[:-1], 0)
        middle = bands // 2
        rise.partition([middle - 1, middle], axis=1)
        median = (rise[:, middle - 1] + rise[:, middle]) * np.float32(0.5)
    strength[ONSET_DELAY:] = median[: frames - ONSET_DELAY]
    return strength


def mean_tempogram(onsets: Floats, sample_rate: int) -> Doubles:
    """Mean over time of the autocorrelation of 8 s windows, each scaled to 1 at lag 0; float64 [lags].

    Grosche, Müller & Kurth 2010; the power spectra are averaged, and one inverse transform gives the mean.
    """
    window = filters.tempo_prior(sample_rate).window
    lags = len(window)
    padded = np.pad(onsets, lags // 2, mode="linear_ramp", end_values=0)
    compiled = kernel.load()
    if compiled is not None:
        length = 1 << (2 * lags - 2).bit_length()
        summed = compiled.mean_power(padded, len(onsets), window, length)
        mean: Doubles = scipy.fft.irfft(summed, n=length)[:lags] / len(onsets)
        return mean
    framed = np.lib.stride_tricks.sliding_window_view(padded, lags)[: len(onsets)] * window
    energy = np.einsum("ij,ij->i", framed, framed)
    framed *= (1 / np.sqrt(np.where(energy < TINY, 1, energy))).astype(np.float32)[:, None]
    length = scipy.fft.next_fast_len(2 * lags - 1, real=True)
    power: Doubles = np.zeros(2 * (length // 2 + 1))
    for start in range(0, len(framed), BLOCK):
        parts = scipy.fft.rfft(framed[start : start + BLOCK], n=length, axis=1).view(np.float32)
        np.square(parts, out=parts)
        power += parts.sum(axis=0, dtype=np.float32)
    correlation: Doubles = scipy.fft.irfft(power[::2] + power[1::2], n=length)[:lags] / len(onsets)
    return correlation


def tempo_lag(tempogram: Doubles, sample_rate: int) -> int:
    """The lag (in frames) of the most likely tempo under the prior of `filters.tempo_prior`."""
    return int(np.argmax(np.log1p(1e6 * tempogram) + filters.tempo_prior(sample_rate).log_prior))


def tempo(onsets: Floats, sample_rate: int) -> float:
    """Beats a minute (Ellis 2007); 0 for a clip without any onset, as `librosa.beat.beat_track` answers."""
    if not onsets.any():
        return 0.0
    lag = tempo_lag(mean_tempogram(onsets, sample_rate), sample_rate)
    return float(filters.tempo_prior(sample_rate).beats_per_minute[lag])
