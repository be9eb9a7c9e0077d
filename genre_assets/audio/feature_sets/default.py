"""The feature set `default`: what the models train on.

Richer than `gtzan37`, and independent of the recording's level: a segment is brought to unit RMS first. It is also
independent of the file's sample rate: everything is computed at 22,050 Hz. What is more than 60 dB below the loudest
moment is cut off: down there codecs, tapes and converters speak, and a model that listens to them knows recordings,
not genres (docs/decisions/0042-default-feature-set.md has the measurement). Times are frames of 512 samples (23 ms).
"""

from itertools import pairwise

import numpy as np
import scipy

from genre_assets.audio.dsp import filters, kernel, rhythm, separation
from genre_assets.audio.dsp.filters import HOP, MELS, Doubles, Floats
from genre_assets.audio.dsp.resampling import resampled
from genre_assets.audio.dsp.spectrum import TINY, Spectrum, analyse

VERSION = "2"
SAMPLE_RATE = 22_050
NO_BEAT = 0.01
FLOOR_DB = 60.0  # below the loudest mel band of the segment
MFCCS = 20
DELTAS = 13
CONTRAST_BANDS = 8
MODULATION_BANDS = 8
MODULATION_EDGES_HZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

COLUMNS: tuple[str, ...] = (
    *(f"mfcc_{k}_{s}" for s in ("mean", "std") for k in range(MFCCS)),
    *(f"mfcc_delta_{k}_std" for k in range(DELTAS)),
    *(f"contrast_{k}_{s}" for s in ("mean", "std") for k in range(CONTRAST_BANDS)),
    *(
        f"{name}_{s}"
        for name in ("flatness", "centroid", "bandwidth", "rolloff", "zero_crossings", "level", "harmonic_share")
        for s in ("mean", "std", "p10", "p90")
    ),
    *(f"chroma_{k}" for k in range(12)),
    "chroma_change",
    "tempo",
    "beat_strength",
    "onset_mean",
    "onset_std",
    *(
        f"modulation_{band}_{low:g}_{high:g}hz"
        for band in range(MODULATION_BANDS)
        for low, high in pairwise(MODULATION_EDGES_HZ)
    ),
)


def spectrum_of(samples: Floats, sample_rate: int) -> Spectrum:
    """The spectrum of a segment at 22,050 Hz and unit RMS."""
    samples = resampled(samples, sample_rate, SAMPLE_RATE)
    rms = float(np.sqrt(np.dot(samples, samples) / len(samples)))
    level = np.float32(1 / rms) if rms > TINY else np.float32(1)
    spectrum = analyse(samples * level, SAMPLE_RATE, chroma=True)
    np.maximum(spectrum.mel_db, spectrum.mel_db.max() - np.float32(FLOOR_DB), out=spectrum.mel_db)
    return spectrum


def compute(spectrum: Spectrum) -> Doubles:
    """The values in the order of `COLUMNS`, float64. See each function for the definition and its source."""
    onsets = rhythm.onset_strength(spectrum.mel_db)
    hertz = SAMPLE_RATE / filters.FRAME
    mel_power = np.exp(spectrum.mel_db * np.float32(np.log(10) / 10))
    series = (
        _flatness(spectrum.mel_db, mel_power),
        spectrum.centroid * hertz,
        spectrum.bandwidth * hertz,
        spectrum.rolloff * hertz,
        20 * np.log10(np.maximum(spectrum.rms, 1e-4)),
        separation.harmonic_share(spectrum),
    )
    *before, level, harmonic = _summaries(np.stack(series))
    crossings = _summaries(_zero_crossings(spectrum.samples)[None])
    return np.concatenate(
        (
            _cepstrum(spectrum.mel_db),
            _contrast(spectrum.mel_db),
            *before,
            *crossings,
            level,
            harmonic,
            _chroma(spectrum),
            _rhythm(onsets),
            _modulation(spectrum.mel_db),
        )
    )


def _summaries(series: Doubles) -> Doubles:
    """Mean, standard deviation, 10th and 90th percentile over the frames of each row, [rows, 4]."""
    statistics = (series.mean(axis=1), series.std(axis=1), *np.percentile(series, (10, 90), axis=1))
    return np.stack(statistics, axis=1)


def _cepstrum(mel_db: Floats) -> Doubles:
    """Signed MFCC (Davis & Mermelstein 1980): mean and deviation; deviation of their slope over 9 frames (Furui 1986)."""
    cepstrum = np.ascontiguousarray((mel_db @ filters.dct_basis()).T)  # by rows: sums run along memory
    head = cepstrum[:DELTAS]
    reach, last = 4, cepstrum.shape[1] - 4
    if last > reach:
        slope = sum(
            np.float32(k) * (head[:, reach + k : last + k] - head[:, reach - k : last - k]) for k in range(1, reach + 1)
        )
        deviation = np.std(slope, axis=1, dtype=np.float64) / 60.0
    else:
        deviation = np.zeros(DELTAS)
    return np.concatenate((cepstrum.mean(axis=1, dtype=np.float64), cepstrum.std(axis=1, dtype=np.float64), deviation))


def _contrast(mel_db: Floats) -> Doubles:
    """Spectral contrast (Jiang et al. 2002) in decibels: peaks minus valleys (upper and lower quarter) of 8 mel bands."""
    compiled = kernel.load()
    if compiled is not None:
        contrast = compiled.contrast(mel_db, CONTRAST_BANDS)
    else:
        bands = np.sort(mel_db.reshape(len(mel_db), CONTRAST_BANDS, MELS // CONTRAST_BANDS), axis=2)
        quarter = MELS // CONTRAST_BANDS // 4
        contrast = bands[:, :, -quarter:].mean(axis=2) - bands[:, :, :quarter].mean(axis=2)
    return np.concatenate((contrast.mean(axis=0, dtype=np.float64), contrast.std(axis=0, dtype=np.float64)))


def _flatness(mel_db: Floats, mel_power: Floats) -> Doubles:
    """Spectral flatness (Johnston 1988) of the mel bands in decibels: geometric over arithmetic mean; 0 is noise."""
    arithmetic = 10 * np.log10(mel_power.mean(axis=1, dtype=np.float64))
    flatness: Doubles = mel_db.mean(axis=1, dtype=np.float64) - arithmetic
    return flatness


def _zero_crossings(samples: Floats) -> Doubles:
    """Share of neighbouring samples of opposite sign, in each hop."""
    signs = np.signbit(samples)
    crossings = signs[1:] != signs[:-1]
    whole = len(crossings) // HOP * HOP
    if not whole:
        return np.array([crossings.mean() if len(crossings) else 0.0])
    eights = crossings[:whole].view(np.uint64).reshape(-1, HOP // 8).sum(axis=1)  # a byte of each counts up to 64
    shares: Doubles = eights.view(np.uint8).reshape(-1, 8).sum(axis=1) / HOP
    return shares


def _chroma(spectrum: Spectrum) -> Doubles:
    """Mean share of each pitch class, and its mean change between frames (Ellis 2007; Müller & Ewert 2011).

    The shares are turned so that the strongest class is first, which makes them independent of the key.
    """
    assert spectrum.chroma is not None
    shares = spectrum.chroma / np.maximum(spectrum.chroma.sum(axis=1, keepdims=True), TINY)
    profile = shares.mean(axis=0, dtype=np.float64)
    change = np.abs(np.diff(shares, axis=0)).sum(axis=1).mean(dtype=np.float64) if len(shares) > 1 else 0.0
    return np.append(np.roll(profile, -int(profile.argmax())), change)


def _rhythm(onsets: Floats) -> Doubles:
    """Tempo in octaves around 120 beats a minute, the tempogram's height there, and the onsets' mean and deviation.

    Without a beat (a height below 0.01, where rounding would choose the tempo) the first two are 0.
    """
    if not onsets.any():
        return np.zeros(4)
    tempogram = rhythm.mean_tempogram(onsets, SAMPLE_RATE)
    lag = rhythm.tempo_lag(tempogram, SAMPLE_RATE)
    bpm = filters.tempo_prior(SAMPLE_RATE).beats_per_minute[lag]
    strength = tempogram[lag] / tempogram[0]
    beat = (np.log2(bpm / 120.0), strength) if strength > NO_BEAT else (0.0, 0.0)
    return np.array([*beat, onsets.mean(dtype=np.float64), onsets.std(dtype=np.float64)])


def _modulation(mel_db: Floats) -> Doubles:
    """How fast each of 8 mel regions pulses: shares of its modulation energy in five octaves from 0.5 to 16 Hz.

    Rhythm patterns: Pampalk, Rauber & Merkl 2002.
    """
    regions = mel_db.reshape(len(mel_db), MODULATION_BANDS, -1).mean(axis=2).astype(np.float64)
    regions -= regions.mean(axis=0)
    power = np.abs(scipy.fft.rfft(regions * np.hanning(len(regions))[:, None], axis=0)) ** 2
    hertz = scipy.fft.rfftfreq(len(regions), HOP / SAMPLE_RATE)
    edges = np.searchsorted(hertz, MODULATION_EDGES_HZ)
    octaves = np.stack([power[a:b].sum(axis=0) for a, b in pairwise(edges)])
    shares: Doubles = octaves / np.maximum(octaves.sum(axis=0), TINY)
    return shares.T.ravel()
