"""The optional compiled kernel: the inner loops in C, twice as fast as NumPy, with the same results.

It is compiled for this machine's processor by the C compiler found here, when it is first needed, and kept in the user's
cache folder. Without a compiler, or if anything at all is wrong with it, extraction runs on NumPy: `load` then gives
None. Nothing is downloaded, and nothing is loaded from a folder that others can write to.

`python -m genre_assets.audio.dsp.kernel` compiles it ahead of its first use, and says what came of it.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.dsp import filters, median_network
from genre_assets.audio.dsp.filters import BINS, FRAME, HOP, MELS, Floats

WINDOW = 31
OUTPUTS = 16
LANES = 64
TILE = 16
FLAGS = (
    "-O3", "-march=native", "-std=c11", "-fPIC", "-shared", "-fopenmp-simd",
    "-fno-math-errno", "-fno-trapping-math", "-ffinite-math-only", "-fno-signed-zeros",
)  # fmt: skip
COMPILE_SECONDS = 120
_enabled = True


def generate_median() -> str:
    """C for one group of running medians: `outputs` rows from `inputs` rows of `lanes` values."""
    program = median_network.build(WINDOW, OUTPUTS)
    rows = [f"        float x{k} = in[{k} * lanes + lane];" for k in range(program.inputs)]
    registers = f"        float {', '.join(f'r{k}' for k in range(program.registers))};"
    steps = []
    for step in program.steps:
        a = f"{'x' if step.a_is_input else 'r'}{step.a}"
        b = f"{'x' if step.b_is_input else 'r'}{step.b}"
        sign = "<" if step.operation == "min" else ">"
        steps.append(f"        r{step.target} = {a} {sign} {b} ? {a} : {b};")
    results = [f"        out[{k} * lanes + lane] = r{register};" for k, register in enumerate(program.results)]
    return "\n".join(
        [
            "static inline void median_group(const float *restrict in, float *restrict out, const long lanes) {",
            "    for (long lane = 0; lane < lanes; lane++) {",
            *rows,
            registers,
            *steps,
            *results,
            "    }",
            "}",
        ]
    )


def source() -> str:
    """The whole C text."""
    constants = {
        "WINDOW": WINDOW,
        "OUTPUTS": OUTPUTS,
        "INPUTS": WINDOW + OUTPUTS - 1,
        "ROLLOFF": "0.85f",
        "TINY": "1.18e-38f",
        "LANES": LANES,
        "TILE": TILE,
        "BLOCK": 64,
        "MOST_BLOCKS": 32,
    }
    defines = "\n".join(f"#define {name} {value}" for name, value in constants.items())
    return f"{defines}\n{generate_median()}\n{resources.files(__package__).joinpath('kernel.c').read_text()}"


class Kernel:
    """The compiled functions, called with NumPy arrays (float32, contiguous)."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._mel: dict[int, tuple[Floats, NDArray[np.int32], NDArray[np.int32]]] = {}

    def median_rows(self, values: Floats) -> Floats:
        """As `median_filter.median_rows`."""
        values = np.ascontiguousarray(values, np.float32)
        result = np.empty_like(values)
        scratch = np.empty((len(values) + 2 * WINDOW + 4 * OUTPUTS, LANES), np.float32)
        self._call("median_rows", values, result, *values.shape, scratch)
        return result

    def harmonic_mask(self, magnitude: Floats) -> Floats:
        """As `separation.harmonic_mask`."""
        mask = self.median_rows(magnitude)
        scratch = np.empty((magnitude.shape[1] + 2 * (WINDOW + 2 * OUTPUTS)) * TILE * 2, np.float32)
        self._call("harmonic_mask", magnitude, mask, *magnitude.shape, scratch)
        return mask

    def read_frames(
        self,
        spectrum: NDArray[np.complex64],
        *,
        sample_rate: int,
        magnitude: Floats,
        moments: Floats,
        rolloff: NDArray[np.int64],
        mel: Floats,
    ) -> Floats:
        """Fill the last four from a block of spectra; returns the power, [frames, 1025]. As `spectrum._read`."""
        weights, start, length = self._mel_filters(sample_rate)
        power = np.empty(spectrum.shape, np.float32)
        cumulative = np.empty(BINS, np.float32)
        self._call(
            "read_frames", spectrum, *spectrum.shape, power, magnitude, moments, rolloff, mel, MELS,
            weights, start, length, cumulative,
        )  # fmt: skip
        return power

    def apply_mask(self, spectrum: NDArray[np.complex64], mask: Floats) -> None:
        """Multiply `spectrum` by `mask` in place."""
        self._call("apply_mask", spectrum, mask, mask.size)

    def overlap_add(self, pieces: Floats, sound: Floats) -> None:
        """Add the windowed pieces [frames, 2048] into `sound`, which starts where the first of them does."""
        self._call("overlap_add", pieces, filters.hann(), sound, len(pieces), FRAME, HOP)

    def _mel_filters(self, sample_rate: int) -> tuple[Floats, NDArray[np.int32], NDArray[np.int32]]:
        """The mel bank without its zeros: the weights of all filters, and the first bin and length of each."""
        if sample_rate not in self._mel:
            bank = filters.mel_bank(sample_rate).T
            used = [np.flatnonzero(row) for row in bank]
            start = np.array([u[0] if len(u) else 0 for u in used], np.int32)
            length = np.array([u[-1] + 1 - u[0] if len(u) else 0 for u in used], np.int32)
            parts = [row[s : s + n] for row, s, n in zip(bank, start, length, strict=True)]
            self._mel[sample_rate] = np.concatenate(parts).astype(np.float32), start, length
        return self._mel[sample_rate]

    def _call(self, name: str, *arguments: "NDArray[np.generic] | int") -> None:
        converted: list[ctypes.c_void_p | ctypes.c_long] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                converted.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                converted.append(ctypes.c_long(argument))
        self._library[name](*converted)


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
    try:
        kernel = Kernel(compiled())
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None
    return kernel if _agrees_with_numpy(kernel) else None


def compiled() -> Path:
    """The library for this machine, compiled unless it is in the cache. Raises `OSError` or `SubprocessError`."""
    text = source()
    name = hashlib.sha256("\n".join((text, *FLAGS, _processor())).encode()).hexdigest()[:20]
    folder = _cache_folder()
    library = folder / f"kernel-{name}.so"
    if library.exists():
        return library
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        code, made = Path(scratch) / "kernel.c", Path(scratch) / "kernel.so"
        code.write_text(text)
        command = [compiler, *FLAGS, "-o", str(made), str(code), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
        made.replace(library)  # at once: another process may be looking
    return library


def _cache_folder() -> Path:
    """The user's cache folder, made if need be. Raises `OSError` if it is not the user's alone to write to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "genre_assets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written to by others")
    return folder


def _processor() -> str:
    """What the machine can do: a library for one processor must not be loaded on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _agrees_with_numpy(kernel: Kernel) -> bool:
    """A last look before it is trusted: one small median."""
    values = np.random.default_rng(0).random((40, 33), dtype=np.float32)
    mirrored = np.concatenate((values[14::-1], values, values[:-16:-1]))
    expected = np.stack([np.median(mirrored[row : row + WINDOW], axis=0) for row in range(len(values))])
    return np.array_equal(kernel.median_rows(values), expected)


if __name__ == "__main__":
    try:
        print(f"compiled: {compiled()}")
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"no kernel, extraction runs on NumPy: {problem}")
