"""The whole installation as a share of the first version: the quiet stack, its commands, the ensemble, the training.

GENRE_BENCH_FIRST is a checkout of that version (ab72ec1) with the environment of `make dev`; without it, nothing is measured.
Training and the ensemble are measured by each checkout's own benchmarks. Then each runs its own demo with nothing beside it, is timed
by its own `genre-assets`, and is taken down. Takes half an hour.
"""

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import Result, figure, holds

NOW = Path(__file__).resolve().parents[1]
SETTLED = 90.0  # seconds after the last command, until the stack is quiet
REPEATS = 9
COMMANDS = {
    "CPU of `--help`": ("--help",),
    "CPU of `status`": ("status",),
    "CPU of `predict` of a file": ("predict", "FILE"),
}
SHARES = dict.fromkeys(COMMANDS, "<= 1") | {
    "memory of the quiet stack (PSS)": "<= 0.65",
    "training of five candidates, CPU": "<= 0.7",
    "G-mean of the champion": ">= 1",
    "ensemble, added p50": "<= 0.5",
    "ensemble, added p99": "<= 0.6",
}
NOW_BARS = {
    "`make demo` again": "<= 60",
    "a run with nothing to do": "<= 8",
    "ensemble, throughput / one offline thread": ">= 1.85",
}
UNITS = dict.fromkeys(
    (*COMMANDS, "training of five candidates, CPU", "`make demo` again", "a run with nothing to do"), "s"
) | {
    "memory of the quiet stack (PSS)": "MB",
    "ensemble, added p50": "ms",
    "ensemble, added p99": "ms",
    "ensemble, throughput / one offline thread": "x",
}
TRAINING = """
import json, tempfile
from pathlib import Path
from benchmarks.models_tuning import GENRES, TRIALS, _timed, chosen, evaluate, given_split, songs_of, tuned_models
data = given_split()
train, held = data.part("train"), data.part("validation")
with tempfile.TemporaryDirectory() as folder:
    study = f"sqlite:///{Path(folder) / 'ours.db'}"
    ours, _, cpu = _timed(lambda: tuned_models(train, TRIALS, storage_url=study, name="given"))
songs = songs_of(held, ours[chosen(ours)].answers(held.features))
print(json.dumps({"cpu": cpu, "g_mean": float(evaluate.g_mean(songs.truth, songs.predicted))}))
"""
SERVING = """
import json
from benchmarks import serving_throughput
print(json.dumps({row["name"]: row["value"] for row in serving_throughput.run()}))
"""
ADDED = "serving: latency added over decode and extraction, {}, 1 client"


def run() -> list[Result]:
    """All of it."""
    first = os.environ.get("GENRE_BENCH_FIRST", "")
    if not first:
        print("  GENRE_BENCH_FIRST names no checkout of the first version: left out")
        return []
    spent = []
    for turn, checkout in enumerate((Path(first).resolve(), NOW)):
        with tempfile.TemporaryDirectory() as folder:
            spent.append(_models_and_ensemble(checkout, Path(folder)) | _stack(checkout, Path(folder), turn))
    rows = []
    for name in (*SHARES, *NOW_BARS):
        share, bar = spent[1][name] / spent[0][name], SHARES.get(name, "")
        rows.append(figure(f"{name}, now / first version", share, "x", bar, holds(share, bar)))
        bar = NOW_BARS.get(name, "")
        rows.append(
            figure(f"{name}, of this version", spent[1][name], UNITS.get(name, ""), bar, holds(spent[1][name], bar))
        )
        print(f"  {name}: {spent[0][name]:.3f} -> {spent[1][name]:.3f}", flush=True)
    return rows


def _models_and_ensemble(checkout: Path, folder: Path) -> dict[str, float]:
    """What its own benchmarks say."""
    training, serving = (_asked(checkout, folder, program) for program in (TRAINING, SERVING))
    found = {
        "training of five candidates, CPU": training["cpu"],
        "G-mean of the champion": training["g_mean"],
        "ensemble, throughput / one offline thread": serving[
            "serving: throughput of the ensemble / one offline thread"
        ],
        **{f"ensemble, added {part}": serving[ADDED.format(part)] for part in ("p50", "p99")},
    }
    print(f"  {checkout}: {found}", flush=True)
    return found


def _stack(checkout: Path, folder: Path, turn: int) -> dict[str, float]:
    """What the stack of a checkout costs, from its own demo to its end."""
    home = folder / "home"
    home.mkdir(parents=True)
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "DAGSTER_"))}
    environment = {**outside, "GENRE_HOME": str(home), "GENRE_PORT_OFFSET": str(620 + 20 * turn)}
    program = checkout / ".venv" / "bin" / "genre-assets"

    def command(*words: str) -> tuple[float, float]:
        """Wall and CPU seconds."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run([program, *words], env=environment, cwd=checkout, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{checkout}: {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    try:
        command("demo")
        found = {"`make demo` again": command("demo")[0]}
        command("run")  # trains by the documented settings, where the demo's are shorter
        found["a run with nothing to do"] = command("run")[0]
        clip = str(next(home.rglob("*.wav")))
        time.sleep(SETTLED)
        found["memory of the quiet stack (PSS)"] = _memory(home)
        for name, words in COMMANDS.items():
            given = [clip if word == "FILE" else word for word in words]
            found[name] = statistics.median(command(*given)[1] for _ in range(REPEATS))
    finally:
        command("down")
    print(f"  {checkout}: {found}", flush=True)
    return found


def _memory(home: Path) -> float:
    """Megabytes of all processes of the stack in `home`, each shared page counted once."""
    found: dict[int, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("GENRE_HOME") == str(home):
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one.memory_full_info().pss
    return sum(found.values()) / 1e6


def _asked(checkout: Path, folder: Path, program: str) -> dict[str, Any]:
    """What a program prints last, by the Python and the code of a checkout."""
    done = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-W", "ignore", "-c", program],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout), "GENRE_HOME": str(folder / "scratch")}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    for each in run():
        print(each["name"], each["value"], each["unit"], each["bar"])
