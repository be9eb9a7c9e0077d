"""The optional compiled kernel: the inner loops in C, several times faster than NumPy, with the same results.

It is compiled by the C compiler found here, when it is first needed, and kept in the user's cache folder (`compiler`).
Without a compiler, or if anything at all is wrong with it, extraction runs on NumPy: `load` then gives None. Nothing is
downloaded, and nothing is loaded from a folder that others can write to.

`python -m genre_assets.audio.dsp.kernel` compiles it ahead of its first use, for every kind of processor of this
architecture, and says what came of it.
"""

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from genre_assets.audio.dsp import compiler, filters, median_network
from genre_assets.audio.dsp.compiler import OUTPUTS, TILE, WINDOW
from genre_assets.audio.dsp.filters import BINS, FRAME, HOP, MELS, OVERLAP, Doubles, Floats

Integers = NDArray[np.int32]

CHUNK = OUTPUTS
CHUNKS = -(-BINS // CHUNK)
WIDEST = 16  # floats in the widest vector
TURNED = 20  # as in kernel.c
_enabled = True


@dataclass(frozen=True)
class Reading:
    """What is read off the T frames of a clip. Separation wants the spectrogram as cells (see kernel.c)."""

    kernel: "Kernel"
    frames: int
    sample_rate: int
    mel: Floats  # [T, 128] energies, and room for a last tile
    shape: (
        Floats  # [T, 3]: centroid, variance (both in units of the highest frequency) and rolloff (bin) of the magnitude
    )
    chroma: Floats | None  # [T, 12] energies
    magnitude: Floats
    percussive: Floats
    spectrum: Floats | None  # where a waveform is asked for
    scratch: Floats


class Kernel:
    """The compiled functions, called with NumPy arrays (float32, contiguous)."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def reading(self, frames: int, sample_rate: int, *, chroma: bool, waveform: bool) -> "Reading":
        """Room for what is read off so many frames; `read_frames` fills it."""
        rows = -(-frames // TILE) * TILE
        return Reading(
            self,
            frames,
            sample_rate,
            np.empty((rows, MELS), np.float32),
            np.empty((frames, 3), np.float32),
            np.empty((frames, 12), np.float32) if chroma else None,
            _aligned(CHUNKS * (rows + WINDOW - 1) * CHUNK),
            _aligned(CHUNKS * rows * CHUNK),
            _aligned(2 * BINS * rows) if waveform else None,
            _aligned(
                (3 * BINS + CHUNKS * CHUNK + 2 * WINDOW + CHUNK + MELS) * TILE + 2 * FRAME * WIDEST + TURNED * HOP
            ),
        )

    def read_frames(self, padded: Floats, into: "Reading") -> None:
        """Transform the frames of a padded waveform [(T + 3) * 512] and read everything off them. As `spectrum._read`."""
        weights, start, length = _mel_filters(into.sample_rate)
        bank = None if into.chroma is None else filters.chroma_bank(into.sample_rate)
        self._call(
            "read_frames", padded, into.frames, filters.hann(), _twiddles(FRAME // 2), _unit_roots(), weights, start, length,
            bank, into.mel, into.shape, into.chroma, into.magnitude, into.percussive, into.spectrum, into.scratch,
        )  # fmt: skip

    def harmonic_energy(self, cells: Reading) -> Floats:
        """The energy of each frame that is harmonic, and all of it, [T, 2]. As `separation.harmonic_share`."""
        energy = np.empty((cells.frames, 2), np.float32)
        self._call("harmonic_energy", cells.magnitude, cells.percussive, cells.frames, energy)
        return energy

    def harmonic_sound(self, cells: Reading) -> Floats:
        """The harmonic part as sound, [T + 3, 512], before the windows' sum is divided out. As `separation.harmonic_waveform`."""
        rows = -(-cells.frames // TILE) * TILE
        sound = np.zeros((rows + OVERLAP - 1, HOP), np.float32)
        self._call(
            "harmonic_sound", cells.magnitude, cells.percussive, cells.spectrum, cells.frames,
            _inverse_window(), _twiddles(FRAME // 2), _unit_roots(), _places(FRAME // 2), sound,
            _aligned(FRAME * WIDEST + (CHUNKS + 1) * CHUNK * TILE + TURNED * HOP),
        )  # fmt: skip
        return sound[: cells.frames + OVERLAP - 1]

    def median_rise(self, mel_db: Floats) -> Floats:
        """Median over the bands of the rise from each frame to the next, [T - 1]. As `rhythm.onset_strength`."""
        mel_db = np.ascontiguousarray(mel_db, np.float32)
        rise = np.empty(len(mel_db) - 1, np.float32)
        pairs = median_network.sorting_pairs(MELS)
        self._call("median_rise", mel_db, len(mel_db), pairs, len(pairs), rise)
        return rise

    def contrast(self, mel_db: Floats, bands: int) -> Floats:
        """Mean of the upper less that of the lower quarter of each of so many bands, [T, bands]. As `default._contrast`."""
        mel_db = np.ascontiguousarray(mel_db, np.float32)
        contrast = np.empty((len(mel_db), bands), np.float32)
        pairs = median_network.sorting_pairs(MELS // bands)
        self._call("band_contrast", mel_db, len(mel_db), bands, pairs, len(pairs), contrast)
        return contrast

    def mean_power(self, padded: Floats, windows: int, window: Floats, length: int) -> Doubles:
        """Sum over all windows of the power spectrum of each at unit energy, [length / 2 + 1]. As `rhythm.mean_tempogram`."""
        padded = np.append(padded, np.zeros(4 * WIDEST, np.float32))
        power, scratch = np.zeros((2, length * 2 * WIDEST), np.float32)
        self._call("mean_power", padded, windows, window, len(window), length, _twiddles(length), power, scratch)
        lanes = int(self._library.lanes())
        both = power[: length * lanes].reshape(length, lanes).sum(axis=1, dtype=np.float64)[_places(length)]
        half: Doubles = (both[: length // 2 + 1] + both[-np.arange(length // 2 + 1)]) / 2
        return half

    def frame_bands(
        self, samples: Floats, starts: NDArray[np.int_], window: Floats, edges: NDArray[np.int_]
    ) -> Doubles:
        """Energy between edges (bins) of the frames of 2,048 samples that begin at `starts`, [frames, bands]; as `band_sums`."""
        energy = np.empty((len(starts), len(edges) - 1))
        self._call(
            "frame_bands", np.ascontiguousarray(samples, np.float32), starts.astype(np.int32), len(starts), window,
            _twiddles(FRAME // 2), _unit_roots(), edges.astype(np.int32), len(edges), energy,
            _aligned((FRAME + 2 * BINS) * TILE + 2 * FRAME * WIDEST),
        )  # fmt: skip
        return energy

    def band_sums(self, power: Floats, edges: NDArray[np.int_], energy: Doubles) -> None:
        """Fill `energy` [frames, bands] with the sums of `power` [frames, bins] between edges; of `numpy.cumsum`, bit for bit."""
        limits = edges.astype(np.int32)
        self._call("band_sums", power, *power.shape, limits, len(limits), energy)

    def _call(self, name: str, *arguments: "NDArray[np.generic] | int | None") -> None:
        converted: list[ctypes.c_void_p | ctypes.c_long | None] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                converted.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                converted.append(argument if argument is None else ctypes.c_long(argument))
        self._library[name](*converted)


def _aligned(values: int) -> Floats:
    """Memory for so many floats that begins where a line of the cache does: vectors then lie in one line each."""
    raw = np.empty(values + 16, np.float32)
    skipped = -raw.ctypes.data % 64 // 4
    return raw[skipped : skipped + values]


@cache
def _inverse_window() -> Floats:
    return filters.hann() * np.float32(1 / FRAME)


@cache
def _unit_roots() -> Floats:
    """exp(-2 pi i k / 2048), float32 [513, 2]."""
    roots = np.exp(-2j * np.pi * np.arange(FRAME // 4 + 1) / FRAME)
    return np.ascontiguousarray(roots.astype(np.complex64)).view(np.float32)


@cache
def _twiddles(length: int) -> Floats:
    """The factors w^k, w^2k, w^3k, w = exp(-2 pi i / n), k < n / 4, of each step: n = length, length / 4 and so on."""
    factors = [np.zeros((0, 3), complex)]
    while length >= 4:
        factors.append(np.exp(-2j * np.pi / length * np.outer(np.arange(length // 4), (1, 2, 3))))
        length //= 4
    return np.ascontiguousarray(np.concatenate(factors).astype(np.complex64)).view(np.float32)


@cache
def _places(length: int) -> Integers:
    """Where each frequency comes out of a transform of `length`: its digits to the base of four, in reverse."""

    def order(n: int) -> Integers:
        if n < 4:
            return np.arange(n, dtype=np.int32)
        inner = order(n // 4)
        return np.concatenate([4 * inner + k for k in range(4)])

    return np.argsort(order(length)).astype(np.int32)


@cache
def _mel_filters(sample_rate: int) -> tuple[Floats, Integers, Integers]:
    """The mel bank without its zeros: the weights of all filters, and the first bin and length of each."""
    bank = filters.mel_bank(sample_rate).T
    used = [np.flatnonzero(row) for row in bank]
    start = np.array([u[0] if len(u) else 0 for u in used], np.int32)
    length = np.array([u[-1] + 1 - u[0] if len(u) else 0 for u in used], np.int32)
    parts = [row[s : s + n] for row, s, n in zip(bank, start, length, strict=True)]
    return np.concatenate(parts).astype(np.float32), start, length


def load() -> Kernel | None:
    """The kernel, compiled if it must be; None where there is none."""
    return _load() if _enabled else None


@contextmanager
def disabled() -> Iterator[None]:
    """Within the block, extraction runs on NumPy: for comparisons."""
    global _enabled
    _enabled = False
    try:
        yield
    finally:
        _enabled = True


@cache
def _load() -> Kernel | None:
    for level in compiler.usable_levels():
        try:
            kernel = Kernel(compiler.compiled(level))
        except (OSError, RuntimeError, subprocess.SubprocessError):
            continue
        if _agrees_with_numpy(kernel):
            return kernel
    return None


def _agrees_with_numpy(kernel: Kernel) -> bool:
    """A last look before it is trusted: the magnitudes and medians of a short noise."""
    noise = np.random.default_rng(0).standard_normal(20 * HOP).astype(np.float32)
    framed = sliding_window_view(noise, FRAME)[::HOP] * filters.hann()
    spectra = scipy.fft.rfft(framed, axis=1)
    magnitude = np.abs(spectra)
    frames = len(magnitude)
    reading = kernel.reading(frames, 22_050, chroma=False, waveform=False)
    kernel.read_frames(noise[: (frames + OVERLAP - 1) * HOP], reading)
    around = np.concatenate((magnitude[14::-1], magnitude, magnitude[:-16:-1]))
    harmonic = np.median(sliding_window_view(around, WINDOW, axis=0), axis=2)
    sides = np.concatenate((magnitude[:, 14::-1], magnitude, magnitude[:, :-16:-1]), axis=1)
    percussive = np.median(sliding_window_view(sides, WINDOW, axis=1), axis=2)
    mask = harmonic**2 / (harmonic**2 + percussive**2)
    expected = np.stack(((magnitude**2 * mask).sum(axis=1), (magnitude**2).sum(axis=1)), axis=1)
    return np.allclose(kernel.harmonic_energy(reading), expected, rtol=1e-4)


if __name__ == "__main__":
    for each in compiler.levels():
        try:
            print(f"compiled: {compiler.compiled(each)}")
        except (OSError, subprocess.SubprocessError) as problem:
            print(f"no kernel for {each}, extraction runs on NumPy: {problem}")
