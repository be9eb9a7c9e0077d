"""The cost of features: CPU time on one thread, methods interleaved on the same clips; cold start; memory; two processes.

Ratios are medians over clips, so that a busy machine changes them little.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import soundfile

from benchmarks._audio_common import at_least, at_most, clips, interleaved, median_ratio, row
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.dsp import filters, kernel
from genre_assets.audio.extract import extract
from genre_assets.audio.feature_sets import equality
from genre_assets.audio.workers.pool import ONE_THREAD

REFERENCE_CLIPS = 5
OUR_CLIPS = 20
PASSES = 4  # of a process over its clips: seconds of work
ONE_FILE = (
    "import sys; from pathlib import Path; from genre_assets.audio.extract import extract_item, Limits;"
    "extract_item(Path(sys.argv[1]), feature_set='gtzan37', limits=Limits(max_file_mb=1e6))"
)
LOOP = (
    "import sys; from pathlib import Path; from genre_assets.audio.extract import extract_item;"
    "extract_item(Path(sys.argv[1])); print('warm', flush=True); sys.stdin.readline();"
    f"[extract_item(Path(p)) for p in sys.argv[1:] * {PASSES}]; print('done', flush=True)"
)


def _ours(feature_set: str) -> Callable[[Path], object]:
    def method(path: Path) -> object:
        clip = decode(path)
        return extract(clip.samples, clip.sample_rate, feature_set=feature_set)

    return method


def _numpy_only(path: Path) -> None:
    with kernel.disabled():
        _ours("gtzan37")(path)


def _reference(path: Path) -> None:
    samples, rate = soundfile.read(path, frames=30 * 22_050, dtype="float32")
    equality.by_librosa(samples, rate)


def _floor(path: Path) -> None:
    """What no method can do without: decode, and transform once."""
    samples = decode(path).samples
    padded = np.pad(samples, filters.FRAME // 2)
    framed = np.lib.stride_tricks.sliding_window_view(padded, filters.FRAME)[:: filters.HOP]
    for start in range(0, len(framed), 48):
        scipy.fft.rfft(framed[start : start + 48] * filters.hann(), axis=1)


def _others() -> dict[str, Callable[[Path], object]]:
    """Other extractors, where they are installed."""
    found: dict[str, Callable[[Path], object]] = {}
    try:
        import opensmile

        smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        found["opensmile eGeMAPS"] = lambda path: smile.process_file(str(path))
    except ImportError:
        print("  opensmile is not installed: left out")
    try:
        import essentia.standard

        extractor = essentia.standard.MusicExtractor(lowlevelStats=["mean"], rhythmStats=["mean"], tonalStats=["mean"])
        found["essentia MusicExtractor"] = lambda path: extractor(str(path))
    except ImportError:
        print("  essentia is not installed: left out")
    return found


def speed() -> list[dict[str, Any]]:
    """Ratios between methods."""
    paths = clips()
    ours = {"floor": _floor, "gtzan37": _ours("gtzan37"), "NumPy": _numpy_only, "default": _ours("default")}
    few = interleaved({"reference": _reference, **ours}, paths[:: len(paths) // REFERENCE_CLIPS][:REFERENCE_CLIPS])
    many = interleaved(ours, paths[::2][:OUR_CLIPS])
    rows = [
        row(f"CPU a clip of 30 s, {name}", statistics.median(times), "ms", __name__) for name, times in many.items()
    ]
    rows.append(row("CPU a clip of 30 s, reference", statistics.median(few["reference"]), "ms", __name__))
    rows.append(at_least("reference / NumPy", median_ratio(few["reference"], few["NumPy"]), 40, "x", __name__))
    if kernel.load() is None:
        print("  no C compiler: the bars of the kernel are left out")
    else:
        rows.append(at_least("reference / kernel", median_ratio(few["reference"], few["gtzan37"]), 85, "x", __name__))
        rows.append(at_most("kernel / floor", median_ratio(many["gtzan37"], many["floor"]), 4, "x", __name__))
    rows.append(at_most("default / gtzan37", median_ratio(many["default"], many["gtzan37"]), 1.6, "x", __name__))
    for name, method in _others().items():
        both = interleaved({"theirs": method, "ours": ours["gtzan37"]}, paths[::8])
        rows.append(at_least(f"{name} / ours", median_ratio(both["theirs"], both["ours"]), 15, "x", __name__))
    return rows


def _run_python(code: str, *arguments: str) -> tuple[float, float]:
    """(CPU seconds, peak MiB) of a fresh Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The kernel counts the parent's memory into ru_maxrss of a child; VmHWM begins anew at exec.
    code += ";print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, int(done.stdout.split()[-1]) / 1024


def fresh_process() -> list[dict[str, Any]]:
    """Cold start, and memory on a short and on a two-hour file."""
    kernel.load()  # compiled before: that happens once on a machine, not at each start
    path = clips()[0]
    runs = [_run_python(ONE_FILE, str(path)) for _ in range(3)]
    cpu, memory = min(runs)
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "two_hours.wav"
        samples, rate = soundfile.read(path, dtype="int16")
        with soundfile.SoundFile(long, "w", rate, 1, "PCM_16") as file:
            for _ in range(240):
                file.write(samples)
        long_cpu, long_memory = min(_run_python(ONE_FILE, str(long)) for _ in range(3))
    return [
        at_most("cold start to the first clip's features", cpu, 1.0, "s CPU", __name__),
        at_most("peak memory of a fresh process", memory, 160, "MiB", __name__),
        at_most("peak memory, two-hour file / 30 s file", long_memory / memory, 1.05, "x", __name__),
        row("CPU, two-hour file (fingerprint of 317 MB included)", long_cpu, "s CPU", __name__),
    ]


def two_processes() -> list[dict[str, Any]]:
    """Throughput of two processes against one, which has all of the same work; start-up and warm-up come before.

    Wall clock, so other work on the machine shows: the quickest of six rounds counts, on both sides.
    """
    paths = [str(path) for path in clips()]
    half = len(paths) // 2
    one, two = float("inf"), float("inf")
    for _ in range(6):
        one = min(one, _wall([paths[: 2 * half]]))
        two = min(two, _wall([paths[:half], paths[half : 2 * half]]))
    return [at_least("two processes / one", one / two, 1.85, "x", __name__)]


def _wall(parts: list[list[str]]) -> float:
    """Seconds that warm processes take together, one for each part."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOOP, *part],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD},
        )
        for part in parts
    ]  # fmt: skip
    _all_say(running, "warm")
    started = time.monotonic()
    for process in running:
        print(file=process.stdin, flush=True)
    _all_say(running, "done")
    wall = time.monotonic() - started
    for process in running:
        process.communicate()
    return wall


def _all_say(running: list[subprocess.Popen[str]], word: str) -> None:
    """Wait until each process has printed the word."""
    for process in running:
        if process.stdout is None or process.stdout.readline().strip() != word:
            raise RuntimeError(f"a process ended before it was {word}")


def run() -> list[dict[str, Any]]:
    """All of it, in a process of its own whose libraries have one thread from the start."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.audio_speed", str(results)]
        subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD})
        found: list[dict[str, Any]] = json.loads(results.read_text())
        return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps([*speed(), *fresh_process(), *two_processes()]))
