"""Compiling the kernel: its text, once for each kind of processor, and the folder where the libraries are kept.

There is a library for each level of vector instructions (of x86: AVX-512, AVX2, or none of both; of ARM: NEON). The processor
at hand says which is taken, so that an image that holds them all runs anywhere.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from genre_assets.audio.dsp import median_network
from genre_assets.audio.dsp.filters import FRAME, HOP, MELS

WINDOW = 31
OUTPUTS = 16
TILE = 16
FLAGS = (
    "-O3", "-std=gnu11", "-fPIC", "-shared", "-fopenmp-simd", "-ffp-contract=fast",
    "-fno-math-errno", "-fno-trapping-math", "-ffinite-math-only", "-fno-signed-zeros",
)  # fmt: skip
COMPILE_SECONDS = 120
# Level -> what the compiler is told, and what the processor must say of itself. The first that it says is taken.
_X86 = {
    "avx512": (
        ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "bmi2", "fma", "movbe"},
    ),
    "avx2": (("-march=x86-64-v3",), {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    "sse2": ((), set[str]()),
}


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
        "FRAME": FRAME,
        "HOP": HOP,
        "MELS": MELS,
        "WINDOW": WINDOW,
        "OUTPUTS": OUTPUTS,
        "TILE": TILE,
        "ROLLOFF": "0.85f",
        "TINY": "1.18e-38f",
    }
    defines = "\n".join(f"#define {name} {value}" for name, value in constants.items())
    return f"{defines}\n{generate_median()}\n{resources.files(__package__).joinpath('kernel.c').read_text()}"


def levels() -> dict[str, tuple[str, ...]]:
    """The levels that there are on this architecture, the best first, and the compiler's flags for each."""
    if platform.machine() in {"x86_64", "AMD64"}:
        return {name: flags for name, (flags, _) in _X86.items()}
    return {platform.machine() or "unknown": ()}


def usable_levels() -> list[str]:
    """Those that the processor at hand has, the best first."""
    has = _processor()
    return [name for name in levels() if name not in _X86 or _X86[name][1] <= has]


def compiled(level: str) -> Path:
    """The library of a level, compiled unless it is in the cache. Raises `OSError` or `SubprocessError`."""
    text = source()
    flags = (*FLAGS, *levels()[level])
    name = hashlib.sha256("\n".join((text, *flags, platform.machine())).encode()).hexdigest()[:20]
    folder = _cache_folder()
    library = folder / f"kernel-{level}-{name}.so"
    if library.exists():
        return library
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        code, made = Path(scratch) / "kernel.c", Path(scratch) / "kernel.so"
        code.write_text(text)
        command = [compiler, *flags, "-o", str(made), str(code), "-lm"]
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


def _processor() -> set[str]:
    """What the machine says that it can do; empty where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())
