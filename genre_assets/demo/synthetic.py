"""Synthetic sample music: ten genres told apart by tempo, rhythm, harmony and timbre; written by rules, not recorded.

For trying the platform without data. What a model learns from it says nothing about real music, and everything
that is made here is called synthetic wherever it is reported.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genre_assets.demo import instruments as i
from genre_assets.demo.instruments import RATE, Instrument, Signal
from genre_assets.disk.whole import unfinished
from genre_assets.genres import GENRES

SUFFIX = "synthetic"

MAJOR, MINOR, SEVENTH, MAJOR7, MINOR7 = (0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 4, 7, 11), (0, 3, 7, 10)
Chord = tuple[int, tuple[int, ...]]  # semitones above the key note, and the chord's intervals


@dataclass(frozen=True)
class Style:
    """How a genre sounds. Patterns are strings over the 16 sixteenths of a bar: `x` strikes, `.` rests."""

    tempo: tuple[float, float]
    progression: tuple[Chord, ...]
    comp: Instrument
    comp_pattern: str
    bass: Instrument
    bass_pattern: str
    lead: Instrument
    lead_density: float
    kick: str = "................"
    snare: str = "................"
    hat: str = "................"
    swing: float = 0.0  # share of a sixteenth by which every second one is late
    drums: float = 0.8
    comp_level: float = 0.5
    key: tuple[int, int] = (40, 52)  # MIDI range of the key note


STYLES: dict[str, Style] = {
    "blues": Style(
        tempo=(70, 100), progression=((0, SEVENTH),) * 2 + ((5, SEVENTH),) + ((0, SEVENTH),) + ((7, SEVENTH), (5, SEVENTH)),
        comp=i.STEEL, comp_pattern="x..x..x..x..x..x", bass=i.BASS, bass_pattern="x...x...x...x...", lead=i.OVERDRIVE,
        lead_density=0.35, kick="x.......x.......", snare="....x.......x...", hat="x..xx..xx..xx..x", swing=0.6, drums=0.5,
    ),
    "classical": Style(
        tempo=(60, 110), progression=((0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR), (9, MINOR), (2, MINOR), (7, MAJOR)),
        comp=i.STRINGS, comp_pattern="x...............", bass=i.STRINGS, bass_pattern="x.......x.......", lead=i.PIANO,
        lead_density=0.6, drums=0.0, comp_level=0.7, key=(45, 57),
    ),
    "country": Style(
        tempo=(95, 125), progression=((0, MAJOR), (0, MAJOR), (5, MAJOR), (7, MAJOR)), comp=i.STEEL,
        comp_pattern="..x...x...x...x.", bass=i.BASS, bass_pattern="x.......x.......", lead=i.STEEL, lead_density=0.5,
        snare="....x.......x...", hat="x.x.x.x.x.x.x.x.", drums=0.35, comp_level=0.8,
    ),
    "disco": Style(
        tempo=(112, 128), progression=((0, MINOR7), (5, MINOR7), (10, MAJOR7), (3, MAJOR7)), comp=i.STRINGS,
        comp_pattern="x.....x.........", bass=i.SYNTH, bass_pattern="x.x.x.x.x.x.x.x.", lead=i.BRASS, lead_density=0.2,
        kick="x...x...x...x...", snare="....x.......x...", hat="..x...x...x...x.", drums=1.0,
    ),
    "hiphop": Style(
        tempo=(82, 100), progression=((0, MINOR7), (0, MINOR7), (8, MAJOR7), (7, MINOR7)), comp=i.PIANO,
        comp_pattern="x.........x.....", bass=i.SUB, bass_pattern="x......x..x.....", lead=i.LEAD, lead_density=0.1,
        kick="x......x..x.....", snare="....x.......x...", hat="x.x.x.x.x.xxx.x.", swing=0.3, drums=1.4, comp_level=0.35,
    ),
    "jazz": Style(
        tempo=(120, 190), progression=((2, MINOR7), (7, SEVENTH), (0, MAJOR7), (9, SEVENTH)), comp=i.PIANO,
        comp_pattern="x.....x.....x...", bass=i.NYLON, bass_pattern="x...x...x...x...", lead=i.BRASS, lead_density=0.55,
        hat="x...x..xx...x..x", swing=0.65, drums=0.3,
    ),
    "metal": Style(
        tempo=(140, 190), progression=((0, (0,)), (0, (0,)), (1, (0,)), (3, (0,))), comp=i.HIGH_GAIN,
        comp_pattern="x.xxx.xxx.xxx.xx", bass=i.SYNTH, bass_pattern="x.xxx.xxx.xxx.xx", lead=i.HIGH_GAIN, lead_density=0.15,
        kick="xxxxxxxxxxxxxxxx", snare="....x.......x...", hat="x.x.x.x.x.x.x.x.", drums=1.0, comp_level=1.2, key=(28, 34),
    ),
    "pop": Style(
        tempo=(98, 122), progression=((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)), comp=i.SYNTH,
        comp_pattern="x.x.x.x.x.x.x.x.", bass=i.SYNTH, bass_pattern="x.....x.x.....x.", lead=i.LEAD, lead_density=0.5,
        kick="x.....x.x.......", snare="....x.......x...", hat="x.x.x.x.x.x.x.x.", drums=0.9, key=(45, 57),
    ),
    "reggae": Style(
        tempo=(68, 84), progression=((0, MINOR), (5, MINOR), (0, MINOR), (7, MINOR)), comp=i.ORGAN,
        comp_pattern="....x.......x...", bass=i.SUB, bass_pattern="x..x..x.....x.x.", lead=i.LEAD, lead_density=0.15,
        kick="........x.......", snare="........x.......", hat="..x...x...x...x.", drums=0.8, comp_level=0.7,
    ),
    "rock": Style(
        tempo=(108, 145), progression=((0, MAJOR), (10, MAJOR), (5, MAJOR), (0, MAJOR)), comp=i.OVERDRIVE,
        comp_pattern="x.x.x.x.x.x.x.x.", bass=i.BASS, bass_pattern="x.x.x.x.x.x.x.x.", lead=i.OVERDRIVE, lead_density=0.25,
        kick="x.....x.x.x.....", snare="....x.......x...", hat="x.x.x.x.x.x.x.x.", drums=1.0, comp_level=0.8,
    ),
}  # fmt: skip


def compose(genre: str, number: int, *, seed: int, seconds: float = 30.0) -> Signal:
    """One piece in a genre's style: mono float64 at 22,050 Hz, peak 0.5 to 0.9; the same arguments give the same sound."""
    style = STYLES[genre]
    random = np.random.default_rng([seed, GENRES.index(genre), number])
    step = 60 / random.uniform(*style.tempo) / 4
    key = int(random.integers(*style.key))
    piece = np.zeros(int(seconds * RATE))
    bars = int(np.ceil(seconds / (16 * step)))
    start_chord = int(random.integers(len(style.progression)))
    for bar in range(bars):
        root, intervals = style.progression[(start_chord + bar) % len(style.progression)]
        _bar(piece, style, random, bar * 16 * step, step, key + root, intervals)
    piece = _room(piece, random.uniform(0.05, 0.25))
    piece += 10 ** random.uniform(-4.5, -3.2) * random.standard_normal(len(piece))
    return np.asarray(piece / np.abs(piece).max() * random.uniform(0.5, 0.9))


def _bar(
    piece: Signal,
    style: Style,
    random: np.random.Generator,
    start: float,
    step: float,
    root: int,
    intervals: tuple[int, ...],
) -> None:
    scale = sorted({*intervals, 2, 9, 12, *(x + 12 for x in intervals)})
    for sixteenth in range(16):
        at = start + (sixteenth + (style.swing if sixteenth % 2 else 0.0)) * step
        if style.comp_pattern[sixteenth] == "x":
            length = step * (1 + _rests_after(style.comp_pattern, sixteenth))
            for interval in intervals:
                _add(piece, at, style.comp(_hertz(root + 12 + interval), length, random), style.comp_level / 2)
        if style.bass_pattern[sixteenth] == "x":
            note = root - 12 + (int(random.choice([0, 0, 7])) if sixteenth else 0)
            length = step * (1 + _rests_after(style.bass_pattern, sixteenth))
            _add(piece, at, style.bass(_hertz(note), length, random), 0.6)
        if sixteenth % 2 == 0 and random.random() < style.lead_density:
            note = root + 24 + int(random.choice(scale))
            _add(piece, at, style.lead(_hertz(note), step * float(random.choice([2, 4])), random), 0.35)
        _drums(piece, style, random, at, sixteenth)


def _drums(piece: Signal, style: Style, random: np.random.Generator, at: float, sixteenth: int) -> None:
    if style.kick[sixteenth] == "x":
        _add(piece, at, i.kick(), 0.9 * style.drums)
    if style.snare[sixteenth] == "x":
        _add(piece, at, i.snare(random), 0.6 * style.drums)
    if style.hat[sixteenth] == "x":
        _add(piece, at, i.hat(random), 0.3 * style.drums)


def _rests_after(pattern: str, position: int) -> int:
    return len(pattern[position + 1 :]) - len(pattern[position + 1 :].lstrip("."))


def _hertz(note: int) -> float:
    """Frequency of a MIDI note."""
    return float(440.0 * 2 ** ((note - 69) / 12))


def _add(piece: Signal, at: float, sound: Signal, level: float) -> None:
    start = int(at * RATE)
    end = min(len(piece), start + len(sound))
    if start < end:
        piece[start:end] += level * sound[: end - start]


def _room(piece: Signal, share: float) -> Signal:
    """A few early echoes: enough that no piece is bone dry."""
    wet: Signal = piece.copy()
    for delay, gain in ((0.031, 0.6), (0.067, 0.4), (0.113, 0.25)):
        shift = int(delay * RATE)
        wet[shift:] += share * gain * piece[:-shift]
    return wet


def pieces(folder: Path, *, seed: int, each: int) -> Iterator[tuple[str, int, Path]]:
    """Genre, number and file of every piece of the sample set."""
    for genre in GENRES:
        for number in range(each):
            yield genre, number, folder / genre / f"{genre}.{number:05d}.{SUFFIX}-{seed}.wav"


def write_sample_set(
    folder: Path, *, seed: int, each: int = 6, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write the sample set (`each` pieces a genre, 16-bit wav) into `folder`; pieces that are there already are kept.

    Returns how many were written. `progress` is called with (done, total). A piece appears whole or not at all.
    """
    missing = [
        (genre, number, path) for genre, number, path in pieces(folder, seed=seed, each=each) if not path.exists()
    ]
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(_write, genre, number, seed, path) for genre, number, path in missing]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if progress:
                progress(done, len(missing))
    return len(missing)


def _write(genre: str, number: int, seed: int, path: Path) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path) as part:
        soundfile.write(part, compose(genre, number, seed=seed), RATE, format="WAV", subtype="PCM_16")
