"""What the audio stage costs as a share of what it cost in the first version, measured side by side.

GENRE_BENCH_FIRST, or the argument of `python -m benchmarks.audio_against_first`, is a checkout of that version (ab72ec1); with
neither, nothing is measured. Both run as processes of their own, that stay, in turn on the same clip: CPU time of one thread,
medians over clips of the share, so that other work on the machine changes them little. The last row is on the clock. A row is
printed when it is known; one that takes long on a busy machine is of fewer clips.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._audio_common import at_most, clips, row
from benchmarks.audio_scaling import object_store
from genre_assets.audio.workers.pool import ONE_THREAD

NOW = Path(__file__).resolve().parents[1]
SIDE = Path(__file__).with_name("_first_and_now.py")
REPEATS = 5
CLIPS = int(os.environ.get("GENRE_BENCH_PAIRS", "20"))
LEAST, SECONDS = 4, 45.0  # clips of a figure, and how long it may take if it has so many
BARS = {
    "read": ("read a 30 s PCM WAV", 0.25),
    "default": ("read it and compute `default`", 0.55),
    "gtzan37": ("read it and compute `gtzan37`", 0.63),
    "NumPy": ("the same without the kernel", 0.7),
    "fingerprint": ("fingerprint of a clip", 0.4),
}
GENRES = ("rock", "pop", "jazz")  # each is ingested in turn, by both, with as many clips
NEW = 12


class Side:
    """One version, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def spent(self, what: str, of: object) -> float:
        """Seconds that it took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a side without pipes")
        print(json.dumps({"what": what, "of": of}), file=self._process.stdin, flush=True)
        return float(json.loads(self._process.stdout.readline()))


@contextmanager
def side(checkout: Path) -> Iterator[Side]:
    """A version, by the Python of its own environment if it has one, else by this one."""
    own = checkout / ".venv" / "bin" / "python"
    command = [own if own.exists() else sys.executable, "-W", "ignore", SIDE]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)}
    with subprocess.Popen(
        command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Side(process)
        finally:
            process.terminate()


def cost(first: Side, now: Side) -> list[dict[str, Any]]:
    """CPU of single clips."""
    rows = []
    paths = [str(path) for path in clips()][:CLIPS]
    for what, (name, bar) in BARS.items():
        pairs: list[list[float]] = []
        until = time.monotonic() + SECONDS
        for path in paths:
            if len(pairs) >= LEAST and time.monotonic() > until:
                break
            times = [(first.spent(what, path), now.spent(what, path)) for _ in range(REPEATS)]
            pairs.append([statistics.median(each) for each in zip(*times, strict=True)])
        warm = pairs[1:]  # the first warmed both up
        share = statistics.median(today / before for before, today in warm)
        rows.append(at_most(f"{name}, now / first version", share, bar, "x", __name__))
        print(f"  {name}: {share:.3f} of the first version, on {len(warm)} clips", flush=True)
        for column, version in enumerate(("first version", "now")):
            spent = 1000 * statistics.median(pair[column] for pair in warm)
            rows.append(row(f"CPU, {name}, {version}", spent, "ms", __name__))
    return rows


def whole(first: Side, now: Side) -> list[dict[str, Any]]:
    """The seconds from clips in S3 to their stored rows, for a genre of clips at a time."""
    shares = []
    with object_store() as (store, settings, folder):
        endpoint = settings.s3_endpoint_url
        for turn, genre in enumerate(GENRES):
            chosen = clips()[turn * NEW : (turn + 1) * NEW]
            took = []
            for name, each in (("first", first), ("now", now)):
                store.ensure_buckets(f"{name}-raw", f"{name}-features")
                for number, path in enumerate(chosen):
                    store.put_bytes(f"{name}-raw", f"{genre}/{number:03}.wav", path.read_bytes())
                request = {
                    "home": str(folder.parent), "endpoint": endpoint, "bucket": name,
                    "genre": genre, "number": len(chosen),
                }  # fmt: skip
                took.append(each.spent("ingest", request))
            shares.append(took[1] / took[0])
            print(f"  a genre of new clips: {shares[-1]:.3f} of the first version", flush=True)
    return [at_most("a new clip, S3 to stored row, now / first version", statistics.median(shares), 0.5, "x", __name__)]


def run(checkout: str = "") -> list[dict[str, Any]]:
    """All of it; nothing without a checkout of the first version."""
    checkout = checkout or os.environ.get("GENRE_BENCH_FIRST", "")
    if not checkout:
        print("  GENRE_BENCH_FIRST names no checkout of the first version: left out")
        return []
    with side(Path(checkout).resolve()) as first, side(NOW) as now:
        return [*cost(first, now), *whole(first, now)]


if __name__ == "__main__":
    for each in run(*sys.argv[1:2]):
        print(each["name"], each["value"], each["unit"], each["bar"])
