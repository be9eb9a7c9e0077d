"""What the benchmarks of the audio stage share: the clips, the clock, and the shape of a result."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

SUBSET = Path(__file__).parents[2] / "shared" / "data" / "gtzan_subset"
REPEATS, LONG_MS = 5, 500  # a call longer than this is its own average


def clips() -> list[Path]:
    """The shared clips (genre/file); those of GENRE_BENCH_AUDIO if it is set. Raises `FileNotFoundError` without any."""
    folder = Path(os.environ.get("GENRE_BENCH_AUDIO", SUBSET))
    found = sorted(folder.glob("*/*.wav"))
    if not found:
        raise FileNotFoundError(f"no clips in {folder}; set GENRE_BENCH_AUDIO to a folder of genre/*.wav")
    return found


def row(name: str, value: float, unit: str, module: str, *, bar: str = "", holds: bool = True) -> dict[str, Any]:
    """One result. `bar` is what was promised, empty where nothing was."""
    command = f"python -m benchmarks.run {module.rpartition('.')[2]}"
    return {"name": name, "value": float(f"{value:.6g}"), "unit": unit, "bar": bar, "holds": holds, "command": command}


def at_least(name: str, value: float, bar: float, unit: str, module: str) -> dict[str, Any]:
    """A result that must not be below its bar."""
    return row(name, value, unit, module, bar=f">= {bar:g}", holds=value >= bar)


def at_most(name: str, value: float, bar: float, unit: str, module: str) -> dict[str, Any]:
    """A result that must not be above its bar."""
    return row(name, value, unit, module, bar=f"<= {bar:g}", holds=value <= bar)


def cpu_milliseconds(function: Callable[[], object]) -> float:
    """CPU time of one call, in this process: other work on the machine does not count."""
    started = time.process_time()
    function()
    return 1000 * (time.process_time() - started)


def interleaved(methods: dict[str, Callable[[Path], object]], paths: Sequence[Path]) -> dict[str, list[float]]:
    """CPU milliseconds of each method on each path, one method after the other on the same clip, after a warm-up.

    A short call is made five times in succession, as a worker does, and its median counts.
    """
    for method in methods.values():
        method(paths[0])
    times: dict[str, list[float]] = {name: [] for name in methods}
    for path in paths:
        for name, method in methods.items():
            calls = [cpu_milliseconds(partial(method, path))]
            while len(calls) < REPEATS and calls[0] < LONG_MS:
                calls.append(cpu_milliseconds(partial(method, path)))
            times[name].append(statistics.median(calls))
    return times


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median over the clips of slow / fast."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))
