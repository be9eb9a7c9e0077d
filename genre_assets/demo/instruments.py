"""A few synthesised instruments: additive tones with envelopes, plucked strings, drums made of noise and sweeps.

All return mono float64 at `RATE`, one note or one stroke, peak about 1. Textbook synthesis (Moore, *Elements of
Computer Music*, 1990); nothing here is recorded or sampled.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Instrument = Callable[[float, float, np.random.Generator], Signal]

RATE = 22050


def _time(seconds: float) -> Signal:
    return np.arange(max(1, int(seconds * RATE))) / RATE


def _envelope(t: Signal, attack: float, decay: float, seconds: float) -> Signal:
    """Rise within `attack` s, fall by exp(-t / decay), and no click at the end."""
    return np.minimum(1.0, t / attack) * np.exp(-t / decay) * np.minimum(1.0, (seconds - t) / 0.01)


def additive(partials: tuple[float, ...], *, attack: float, decay: float, vibrato: float = 0.0) -> Instrument:
    """A tone of harmonic partials with the given amplitudes; `vibrato` is its depth as a share of the frequency."""

    def play(frequency: float, seconds: float, _: np.random.Generator) -> Signal:
        t = _time(seconds)
        phase = 2 * np.pi * frequency * t
        if vibrato:
            phase += vibrato * frequency / 5.5 * np.sin(2 * np.pi * 5.5 * t)
        tone = sum(
            amplitude * np.sin(number * phase)
            for number, amplitude in enumerate(partials, start=1)
            if number * frequency < RATE / 2.2
        )
        return np.asarray(tone / sum(partials) * _envelope(t, attack, decay, seconds))

    return play


def plucked(damping: float) -> Instrument:
    """A plucked string: partials that die the faster the higher they are (`damping` in 1/s for each partial)."""

    def play(frequency: float, seconds: float, random: np.random.Generator) -> Signal:
        t = _time(seconds)
        numbers = np.arange(1, max(2, int(min(18, RATE / 2.2 / frequency))))
        amplitudes = 1 / numbers * random.uniform(0.7, 1.0, len(numbers))
        tone = np.zeros_like(t)
        for number, amplitude in zip(numbers, amplitudes, strict=True):
            tone += amplitude * np.exp(-damping * number * t) * np.sin(2 * np.pi * number * frequency * t)
        return tone / 2 * np.minimum(1.0, (seconds - t) / 0.01)

    return play


def distorted(instrument: Instrument, drive: float) -> Instrument:
    """The instrument through a saturating amplifier."""

    def play(frequency: float, seconds: float, random: np.random.Generator) -> Signal:
        # A fifth above, as in a power chord, gives the saturation something to mix.
        tone = instrument(frequency, seconds, random) + instrument(1.5 * frequency, seconds, random)
        return np.tanh(drive * tone)

    return play


def kick(depth: float = 1.0) -> Signal:
    """A bass drum: a sine that falls from 120 to 45 Hz."""
    t = _time(0.28)
    return depth * np.sin(2 * np.pi * (45 * t + 75 * 0.04 * (1 - np.exp(-t / 0.04)))) * np.exp(-t / 0.1)


def snare(random: np.random.Generator, brightness: float = 1.0) -> Signal:
    """A snare drum: a tone of 190 Hz under noise."""
    t = _time(0.2)
    noise = random.standard_normal(len(t)) * brightness * 0.5
    return (noise + 0.5 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.06)


def hat(random: np.random.Generator, seconds: float = 0.05) -> Signal:
    """A hi-hat: noise without its lows (twice differenced)."""
    t = _time(seconds * 3)
    return np.diff(random.standard_normal(len(t) + 2), n=2) * 0.25 * np.exp(-t / seconds)


PIANO = additive((1, 0.5, 0.3, 0.15, 0.08, 0.05), attack=0.004, decay=0.6)
ORGAN = additive((1, 0.8, 0.6, 0.0, 0.4, 0.0, 0.0, 0.3), attack=0.02, decay=4.0, vibrato=0.003)
STRINGS = additive((1, 0.6, 0.45, 0.3, 0.22, 0.15, 0.1, 0.07), attack=0.15, decay=5.0, vibrato=0.006)
BRASS = additive((0.8, 1, 0.9, 0.7, 0.5, 0.35, 0.2), attack=0.03, decay=1.2, vibrato=0.004)
SYNTH = additive(tuple(1 / n for n in range(1, 16)), attack=0.006, decay=0.8)
LEAD = additive((1, 0.0, 0.33, 0.0, 0.2, 0.0, 0.14), attack=0.01, decay=1.5, vibrato=0.008)
BASS = additive((1, 0.5, 0.2, 0.08), attack=0.005, decay=0.5)
SUB = additive((1, 0.15), attack=0.005, decay=1.2)
NYLON = plucked(1.6)
STEEL = plucked(0.8)
OVERDRIVE = distorted(STEEL, 3.0)
HIGH_GAIN = distorted(SYNTH, 9.0)
