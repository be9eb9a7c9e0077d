"""What the gateway adds to a request: the same 30 s wav by REST through it and by plain gRPC, in turn, on one server.

Both are logged, so that the server does the same for both. The gateway is a process of its own, as in the local stack.
"""

import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from benchmarks.serving_door import alternating
from genre_assets.triton.protocol import AUDIO, ENSEMBLE
from genre_assets_tests.waiting import until

COMMAND = "python -m benchmarks.run gateway_cost"
ROUNDS, WARM_ROUNDS = 200, 20
PORT = 18_405
MOST_MS = 3.0


def run() -> list[Result]:
    """Measure on one server."""
    clip = bench_of.clips(1)[0]
    with (
        bench_of.bench() as live,
        gateway(live) as pid,
        by_rest(clip) as through,
        by_grpc(live.server.grpc, clip) as past,
    ):
        alternating(through, past, WARM_ROUNDS)
        cpu = bench_of.cpu_seconds([pid])
        throughs, pasts = alternating(through, past, ROUNDS)
        cpu = (bench_of.cpu_seconds([pid]) - cpu) / ROUNDS
    p50, p50_past = (1e3 * bench_of.percentile(times, 0.5) for times in (throughs, pasts))
    size = f"{len(clip) / 1e6:.1f} MB"
    return [
        figure(f"{size}, p50 through it / plain gRPC", p50 / p50_past, "x"),
        figure(f"{size}, p50 of plain gRPC", p50_past, "ms"),
        figure(f"{size}, p50 added", p50 - p50_past, "ms", f"<= {MOST_MS:g}", p50 - p50_past <= MOST_MS),
        figure(f"{size}, its CPU for a request", 1e3 * cpu, "ms"),
    ]


@contextmanager
def gateway(live: bench_of.Bench) -> Iterator[int]:
    """A gateway before the scratch server, as the supervisor starts it; gives its process id."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    with tempfile.TemporaryDirectory() as home:
        settings = {
            "GENRE_HOME": home, "GENRE_GATEWAY_PORT": str(PORT), "GENRE_GATEWAY_URL": f"http://127.0.0.1:{PORT}",
            "GENRE_TRITON_GRPC": live.server.grpc, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "genre_assets.gateway"]
        root = Path(__file__).resolve().parents[1]
        process = subprocess.Popen(command, env={**outside, **settings}, cwd=root)
        try:
            until(lives, "the gateway opens", 60, 0.1)
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def lives() -> bool:
    """Whether the gateway answers."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)) as connection:
            connection.request("GET", "/v1/live")
            return connection.getresponse().status == 200
    except OSError:
        return False


@contextmanager
def by_rest(clip: bytes) -> Iterator[Callable[[], object]]:
    """One request of the REST interface over a connection that is kept."""
    with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)) as connection:

        def ask() -> object:
            connection.request("POST", "/v1/predict", clip)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            if answer.status != 200:
                raise RuntimeError(f"the gateway answered {answer.status}: {said}")
            return said

        yield ask


@contextmanager
def by_grpc(address: str, clip: bytes) -> Iterator[Callable[[], object]]:
    """One request of a plain tritonclient over a connection that is kept."""
    import tritonclient.grpc

    tensor = tritonclient.grpc.InferInput(AUDIO, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[clip]], dtype=object))
    numbers = itertools.count()
    with tritonclient.grpc.InferenceServerClient(address) as client:
        yield lambda: client.infer(ENSEMBLE, [tensor], request_id=f"bench-{next(numbers)}")


def figure(name: str, value: float, unit: str, bar: str = "", holds: bool = True) -> Result:
    """One line of the results."""
    return Result(name=f"gateway: {name}", value=value, unit=unit, bar=bar, holds=holds, command=COMMAND)
