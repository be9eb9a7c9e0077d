"""Ways in which audio gets worse, each on mono samples: gain, filters, codecs, noise, speed, no music at all."""

import io
from collections.abc import Callable

import numpy as np

from benchmarks.drifttools import Floats
from genre_assets.audio.decoding.decode import decode

Perturbation = Callable[[Floats, int, np.random.Generator], Floats]


def gain(decibel: float) -> Perturbation:
    """Quieter (or louder) by so much."""
    return lambda samples, _rate, _random: samples * np.float32(10 ** (decibel / 20))


def low_pass(samples: Floats, rate: int, _random: np.random.Generator) -> Floats:
    """Nothing above 4 kHz."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > 4000] = 0
    return np.asarray(np.fft.irfft(spectrum, n=len(samples)), np.float32)


def noise(samples: Floats, _rate: int, random: np.random.Generator) -> Floats:
    """White noise 20 dB below the music."""
    level = np.sqrt(np.mean(samples**2)) / 10
    return np.asarray(samples + random.standard_normal(len(samples)) * level, np.float32)


def mp3(samples: Floats, rate: int, _random: np.random.Generator) -> Floats:
    """Through an mp3 of 32 kbit/s and back."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as file:
        stream = file.add_stream("mp3", rate=rate, layout="mono", bit_rate=32_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format="fltp", layout="mono", rate=rate, frame_size=stream.codec_context.frame_size
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return decode(buffer.getvalue()).samples[: len(samples)]


def faster(samples: Floats, _rate: int, _random: np.random.Generator) -> Floats:
    """Played 10 % faster (and so higher), as a wrong sample rate in the header does."""
    places = np.arange(0, len(samples) - 1, 1.1)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def speech(samples: Floats, rate: int, random: np.random.Generator) -> Floats:
    """Synthetic speech in its stead: voiced bursts through moving formants, pauses, unvoiced hiss."""
    time = np.arange(len(samples)) / rate
    pitch = 110 * 2 ** random.uniform(-0.3, 0.8) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time + random.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(len(samples))
    for harmonic in range(1, 30):
        formants = sum(
            np.exp(-(((harmonic * pitch - f) / 150) ** 2)) for f in random.uniform((300, 900, 2200), (800, 1800, 3000))
        )
        voice += (0.03 / harmonic + formants / harmonic**0.5) * np.sin(harmonic * phase)
    syllables = np.repeat(
        random.choice([0.0, 0.4, 1.0], int(len(samples) * 5 // rate) + 1, p=[0.3, 0.2, 0.5]), rate // 5
    )[: len(samples)]
    syllables = np.convolve(syllables, np.hanning(rate // 20) / np.hanning(rate // 20).sum(), "same")
    spoken = voice * syllables + random.standard_normal(len(samples)) * 0.03 * (1 - syllables)
    return np.asarray(spoken * np.sqrt(np.mean(samples**2) / np.mean(spoken**2)), np.float32)


PERTURBATIONS: dict[str, Perturbation] = {
    "gain -6 dB": gain(-6),
    "gain -12 dB": gain(-12),
    "low-pass 4 kHz": low_pass,
    "mp3 at 32 kbit/s": mp3,
    "noise at 20 dB": noise,
    "10 % faster": faster,
    "synthetic speech": speech,
}
