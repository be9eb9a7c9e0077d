"""How the time of an ingest grows with the number of clips, over a real S3 endpoint.

GENRE_BENCH_CLIPS="50 500" sets other sizes. Clips are spliced from the shared ones, so that no two are the same
recording; the sensor's work is measured on 100,000 small objects.
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks._audio_common import at_most, clips, row
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.tables import inventory, listing
from genre_assets.audio.tables.refresh import refresh
from genre_assets.genres import GENRES
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client

SIZES = tuple(int(size) for size in os.environ.get("GENRE_BENCH_CLIPS", "100 1000 10000").split())
SECONDS = 12
KEYS = int(os.environ.get("GENRE_BENCH_KEYS", "100000"))


@contextmanager
def object_store() -> Iterator[tuple[ObjectStore, Settings, Path]]:
    """An S3 server of its own, settings for it, and the folder where its buckets are."""
    with tempfile.TemporaryDirectory() as home, socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        folder = Path(home) / "s3"
        folder.mkdir()
        rclone = Path(sys.executable).with_name("rclone")
        options = ["--auth-key", "key,secret", "--config", "/dev/null", "--vfs-cache-mode", "off"]
        command: list[str | Path] = [rclone, "serve", "s3", "--addr", address, *options, folder]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                settings = load_settings(
                    Path(home), s3_endpoint_url=f"http://{address}", s3_access_key="key", s3_secret_key="secret"
                )
                store = ObjectStore(s3_client(settings))
                wait(address)
                store.ensure_buckets(settings.raw_bucket, settings.features_bucket)
                yield store, settings, folder
            finally:
                server.terminate()


def wait(address: str) -> None:
    """Until somebody listens there."""
    host, port = address.split(":")
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"no S3 server at {address}")


def spliced(number: int, sources: list[np.ndarray], rate: int) -> bytes:
    """A clip of three parts from three places: another recording for each number."""
    random = np.random.default_rng(number)
    length = SECONDS * rate // 3
    parts = []
    for _ in range(3):
        source = sources[int(random.integers(len(sources)))]
        start = int(random.integers(len(source) - length))
        parts.append(source[start : start + length])
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), rate, format="WAV")
    return file.getvalue()


def ingest() -> list[dict[str, Any]]:
    """Seconds a clip at each size, from the listing to the tables; and for one more clip at the largest."""
    first = [decode(path) for path in clips()]
    sources, rate = [clip.samples for clip in first], first[0].sample_rate
    rows, costs = [], []
    with object_store() as (store, settings, _):
        there = 0
        for size in SIZES:
            for number in range(there, size):
                key = f"{GENRES[number % len(GENRES)]}/{number}.wav"
                store.put_bytes(settings.raw_bucket, key, spliced(number, sources, rate))
            seconds = _refreshed(store, settings, list(GENRES))
            costs.append(seconds / (size - there))
            rows.append(row(f"ingest, {size - there} clips more, {size} in all", seconds, "s", __name__))
            there = size
    rows.append(at_most(f"cost a clip, at {SIZES[-1]} / at {SIZES[0]}", costs[-1] / costs[0], 1.3, "x", __name__))
    return rows


def _refreshed(store: ObjectStore, settings: Settings, genres: list[str]) -> float:
    started = time.monotonic()
    inventory.update(store, settings, genres)
    refresh(store, settings, genres)
    return time.monotonic() - started


def tick() -> list[dict[str, Any]]:
    """The sensor's work on many keys: list, group, digest."""
    with object_store() as (store, settings, folder):
        for genre in GENRES:
            place = folder / settings.raw_bucket / genre
            place.mkdir(parents=True)
            for number in range(KEYS // len(GENRES)):
                (place / f"{number:06d}.wav").write_bytes(b"x")
        started, cpu = time.monotonic(), time.process_time()
        count = sum(len(found) for found in listing.by_genre(store.list(settings.raw_bucket), GENRES).values())
        listing.digests(store.list(settings.raw_bucket), GENRES)
        seconds, own = (time.monotonic() - started) / 2, (time.process_time() - cpu) / 2
    assert count == KEYS
    return [
        at_most(f"a sensor's tick on {KEYS} objects", seconds, 50.0, "s", __name__),
        row(f"a sensor's tick on {KEYS} objects, CPU of the sensor", own, "s CPU", __name__),
    ]


def run() -> list[dict[str, Any]]:
    """Both."""
    return [*ingest(), *tick()]
