"""What happens to audio on its way, done to mono samples on purpose: level, band, noise, codec, rate, overdrive.

Which of them, and how strong, is the caller's choice: the fallback is chosen by how models bear them
(`models/selection/robustness.py`), the demo's drift is made of them (`demo/traffic.py`), and benchmarks measure with them.
All take float32 [n] in -1 to 1 and a rate in Hz, and return float32; none changes what it is given.
"""

import io
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def gain(samples: Samples, factor: float) -> Samples:
    """Louder or quieter by a factor of the amplitude; 0.25 is 12 dB quieter."""
    return samples * np.float32(factor)


def clipping(samples: Samples, factor: float) -> Samples:
    """Overdriven: the highest sample would be at `factor`, and everything above 1 is cut off."""
    loud = samples * np.float32(factor / max(float(np.abs(samples).max()), 1e-9))
    cut: Samples = np.clip(loud, -1, 1)
    return cut


def band_limit(samples: Samples, rate: int, low: float, high: float, *, order: int = 4) -> Samples:
    """By a Butterworth filter of this order, as analogue ways do: from `low` to `high` Hz, a low-pass where `low` is 0.

    `high` is at most 0.45 of the rate.
    """
    from scipy.signal import butter, sosfilt

    high = min(high, 0.45 * rate)
    band, kind = ((low, high), "bandpass") if low else (high, "lowpass")
    filtered: Samples = sosfilt(butter(order, band, kind, fs=rate, output="sos"), samples).astype(np.float32)
    return filtered


def brick_wall(samples: Samples, rate: int, low: float, high: float) -> Samples:
    """Nothing left outside `low` to `high` Hz, as digital ways do."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(frequency < low) | (frequency > high)] = 0
    return np.asarray(np.fft.irfft(spectrum, n=len(samples)), np.float32)


def white_noise(samples: Samples, decibels: float, random: np.random.Generator) -> Samples:
    """White noise so many dB below the music's RMS."""
    level = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) * 10 ** (-decibels / 20)
    return np.asarray(samples + level * random.standard_normal(len(samples)), np.float32)


def mp3(samples: Samples, rate: int, bit_rate: int) -> tuple[Samples, int]:
    """Through an mp3 encoder at so many bit/s and back; returns at most as many samples, and their rate."""
    import av

    from genre_assets.audio.decoding.decode import decode

    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode(file.getvalue(), max_seconds=len(samples) / rate + 1, offset="start")
    return clip.samples[: len(samples)], clip.sample_rate


def half_rate(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Resampled to half the rate; returns the samples and their rate."""
    from scipy.signal import resample_poly

    return resample_poly(samples, 1, 2).astype(np.float32), rate // 2
