"""What the door before Triton costs a request: the same 30 s wav through it and past it, in turn, by both transports.

A scratch server takes inference from anybody, so the same client can ask it both ways in the same minute.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from genre_assets.stack.services.triton_door import MEMORY
from genre_assets.triton.control import TritonControl
from genre_assets.triton.protocol import AUDIO, ENSEMBLE
from genre_assets_tests.waiting import until

ROUNDS, WARM_ROUNDS = 200, 20
PORTS = (18_400, 18_401)


def run() -> list[Result]:
    """Measure on one server."""
    clip = bench_of.clips(1)[0]
    results = []
    with bench_of.bench() as live, door(live) as pid:
        http, grpc = PORTS
        for transport, through, past in (
            ("gRPC", f"127.0.0.1:{grpc}", live.server.grpc),
            ("HTTP", f"127.0.0.1:{http}", f"127.0.0.1:{live.server.listen.http}"),
        ):
            with asking(transport, through, clip) as by_door, asking(transport, past, clip) as direct:
                alternating(by_door, direct, WARM_ROUNDS)
                cpu = bench_of.cpu_seconds([pid])
                doors, directs = alternating(by_door, direct, ROUNDS)
                cpu = (bench_of.cpu_seconds([pid]) - cpu) / ROUNDS
            p50, p50_past = (bench_of.percentile(times, 0.5) for times in (doors, directs))
            size = f"{len(clip) / 1e6:.1f} MB by {transport}"
            results += [
                bench_of.figure(f"door: {size}, p50 through it / past it", p50 / p50_past, "x"),
                bench_of.figure(f"door: {size}, p50 past it", 1e3 * p50_past, "ms"),
                bench_of.figure(
                    f"door: {size}, p50 added", 1e3 * (p50 - p50_past), "ms", "<= 2", p50 - p50_past <= 0.002
                ),
                bench_of.figure(f"door: {size}, its CPU for a request", 1e3 * cpu, "ms"),
            ]
    return results


@contextmanager
def door(live: bench_of.Bench) -> Iterator[int]:
    """A door before the scratch server, as the supervisor starts it; gives its process id."""
    http, grpc = PORTS
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    with tempfile.TemporaryDirectory() as home:
        settings = {
            "GENRE_HOME": home, "GENRE_TRITON_HTTP_PORT": str(http), "GENRE_TRITON_GRPC_PORT": str(grpc),
            "GENRE_TRITON_INNER_HTTP": f"127.0.0.1:{live.server.listen.http}", "GENRE_TRITON_INNER_GRPC": live.server.grpc,
        }  # fmt: skip
        command = [sys.executable, "-m", "genre_assets.triton.door"]
        root = Path(__file__).resolve().parents[1]
        process = subprocess.Popen(command, env={**outside, **settings, **MEMORY}, cwd=root)
        try:
            control = TritonControl(f"127.0.0.1:{http}")
            until(control.live, "the door opens", 30, 0.1)
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def asking(transport: str, address: str, clip: bytes) -> Iterator[Callable[[], object]]:
    """One request of a plain tritonclient over a connection that is kept."""
    import tritonclient.grpc
    import tritonclient.http

    library: Any = tritonclient.grpc if transport == "gRPC" else tritonclient.http
    tensor = library.InferInput(AUDIO, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[clip]], dtype=object))
    with library.InferenceServerClient(address) as client:
        yield lambda: client.infer(ENSEMBLE, [tensor], request_id="probe:door")


def alternating(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each, asked in turn."""
    pairs = [(bench_of.timed(one, 1)[0], bench_of.timed(other, 1)[0]) for _ in range(rounds)]
    return [first for first, _ in pairs], [second for _, second in pairs]
