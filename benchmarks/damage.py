"""Ways in which audio gets worse, each on mono samples: gain, filters, codecs, noise, speed, no music at all."""

from collections.abc import Callable

import numpy as np

from benchmarks.drifttools import Floats
from genre_assets.audio import perturbations

Perturbation = Callable[[Floats, int, np.random.Generator], Floats]


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
    "gain -6 dB": lambda samples, _rate, _random: perturbations.gain(samples, 10 ** (-6 / 20)),
    "gain -12 dB": lambda samples, _rate, _random: perturbations.gain(samples, 10 ** (-12 / 20)),
    "low-pass 4 kHz": lambda samples, rate, _random: perturbations.brick_wall(samples, rate, 0, 4000),
    "mp3 at 32 kbit/s": lambda samples, rate, _random: perturbations.mp3(samples, rate, 32_000)[0],
    "noise at 20 dB": lambda samples, _rate, random: perturbations.white_noise(samples, 20, random),
    "10 % faster": faster,
    "synthetic speech": speech,
}
