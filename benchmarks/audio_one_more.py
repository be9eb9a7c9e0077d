"""What one more clip costs beside many, from the listing to the tables, and a sensor's tick that events feed.

Over a real S3 endpoint, a real PostgreSQL and, for the events, moto's server, which speaks SQS's protocol. The bucket has
ten labels; all but the one clip are synthetic (`_large_bucket`). GENRE_BENCH_BESIDE="10000" sets other sizes.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg  # noqa: TID251  # its sensor is what is measured

from benchmarks._audio_common import at_most, clips, row
from benchmarks._large_bucket import large_bucket
from benchmarks.audio_scaling import spliced, wait
from genre_assets import labels
from genre_assets.audio import sensors
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore, aws_session
from genre_assets_tests.conftest import free_port, running

SIZES = tuple(int(size) for size in os.environ.get("GENRE_BENCH_BESIDE", "10000 100000").split())
BARS = {10_000: 3.0, 100_000: 5.0}


def run() -> list[dict[str, Any]]:
    """Every size; the tick on the largest."""
    first = [decode(path) for path in clips()]
    sources, rate = [clip.samples for clip in first], first[0].sample_rate
    files = [spliced(10**6 + number, sources, rate) for number in range(3)]
    rows: list[dict[str, Any]] = []
    with database() as base:
        for size in SIZES:
            with large_bucket(size) as (store, settings):
                rows += one_more(store, settings, base, size, files)
                if size == SIZES[-1]:
                    rows += tick(store, settings, size)
    return rows


@contextmanager
def database() -> Iterator[Database]:
    """A PostgreSQL server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(load_settings(Path(folder), postgres_port=free_port()), password=uuid.uuid4().hex)
        with running(server):
            yield Database(server.url("genre"))


def one_more(
    store: ObjectStore, settings: Settings, base: Database, size: int, files: list[bytes]
) -> list[dict[str, Any]]:
    """Seconds for a clip, by the index and (for a small bucket) by all signatures; the index is made by the first."""
    said: list[str] = []
    index = RecordingIndex(base, settings.raw_bucket, said.append)
    store.put_bytes(settings.raw_bucket, "pop/first.wav", files[0])
    started, cpu = time.monotonic(), _cpu()
    inventory.update(store, settings, ["pop"], index=index)
    rows = [
        row(f"index of recordings, made for {size}", time.monotonic() - started, "s", __name__),
        row(f"index of recordings, made for {size}, CPU", _cpu() - cpu, "s CPU", __name__),
    ]
    refresh(store, settings, ["pop"], index=index)
    base.execute("ANALYZE recording_bands, recordings, recording_files")
    said.clear()
    wall, busy, parts = _beside(store, settings, index, "rock/one_more.wav", files[1])
    assert not said, said
    name = f"ingest, one clip beside {size}"
    rows += [
        at_most(name, wall, BARS.get(size, 5.0), "s", __name__),
        row(f"{name}, CPU of the run and its workers", busy, "s CPU", __name__),
        row(f"{name}, inventory alone", parts[0], "s", __name__),
    ]
    if size <= 10_000:
        wall, other, _ = _beside(store, settings, None, "jazz/one_more.wav", files[2])
        rows += [
            row(f"{name}, without the index", wall, "s", __name__),
            row(f"{name}, CPU without the index / with it", other / busy, "x", __name__),
        ]
    return rows


def _beside(
    store: ObjectStore, settings: Settings, index: RecordingIndex | None, key: str, file: bytes
) -> tuple[float, float, tuple[float, float]]:
    """Seconds, CPU seconds and the seconds of both halves of what a run does for a new file."""
    store.put_bytes(settings.raw_bucket, key, file)
    genre = key.split("/", maxsplit=1)[0]
    started, cpu = time.monotonic(), _cpu()
    done = inventory.update(store, settings, [genre], index=index)
    between = time.monotonic()
    computed = refresh(store, settings, [genre], index=index)
    ended = time.monotonic()
    assert (done.inspected, computed.extracted, done.written) == (1, 1, frozenset({genre}))
    return ended - started, _cpu() - cpu, (between - started, ended - between)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def tick(store: ObjectStore, settings: Settings, size: int) -> list[dict[str, Any]]:
    """A look that lists everything, and one to which an event came."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait(f"127.0.0.1:{port}")
            keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": settings.s3_region}
            sqs: Any = aws_session().client("sqs", endpoint_url=f"http://127.0.0.1:{port}", **keys)  # type: ignore[call-overload]
            url = sqs.create_queue(QueueName="events")["QueueUrl"]
            fed = settings.model_copy(update={"s3_events": url})
            with dg.DagsterInstance.ephemeral() as instance:
                instance.add_dynamic_partitions(labels.PARTITIONS, list(GENRES))
                cursor, whole, _ = _look(instance, store, fed, None)
                store.put_bytes(settings.raw_bucket, "metal/told.wav", b"x")
                named = {"bucket": {"name": settings.raw_bucket}, "object": {"key": "metal/told.wav"}}
                sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [{"s3": named}]}))
                cursor, told, asked = _look(instance, store, fed, cursor)
                assert asked == ["metal"], asked
        finally:
            server.terminate()
    return [
        row(f"a sensor's tick on {size} objects that lists them all, CPU", whole[1], "s CPU", __name__),
        row(f"a sensor's tick on {size} objects that lists them all", whole[0], "s", __name__),
        at_most(f"a sensor's tick on {size} objects by events", told[0], 1.5, "s", __name__),
        row(f"a sensor's tick on {size} objects by events, CPU", told[1], "s CPU", __name__),
    ]


def _look(
    instance: dg.DagsterInstance, store: ObjectStore, settings: Settings, cursor: str | None
) -> tuple[str | None, tuple[float, float], list[str]]:
    context = dg.build_sensor_context(instance, cursor=cursor, resources={"settings": settings, "store": store})
    started, cpu = time.monotonic(), time.process_time()
    result: Any = sensors.raw_bucket(context)
    spent = time.monotonic() - started, time.process_time() - cpu
    return result.cursor, spent, [request.partition_key for request in result.run_requests or []]
