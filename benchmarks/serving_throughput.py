"""The ensemble against the offline path on the same clips: throughput, CPU cost, latency added, cost of the model step.

The offline path is one thread that decodes, extracts and asks the same ONNX model. Both sides are warm, both run in
this process' minute on this machine, alternating, so that only ratios matter.
"""

import time
from typing import Any

import numpy as np

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from genre_assets.audio.extract import FEATURE_SETS, extract_item
from genre_assets.inference.answers import Predictor
from genre_assets.processes import children
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.protocol import AUDIO, ENSEMBLE

CLIPS, ROUNDS, SINGLE = 24, 4, 400


def run() -> list[Result]:
    """Measure on one server."""
    clips = bench_of.clips(CLIPS)
    with bench_of.bench() as live, GenreClient(live.server.grpc, batch=1, concurrency=4) as client:
        predictor = Predictor(live.models[1])
        client.predict(clips, log=False)
        offline(predictor, clips[:4])
        alone, served, alone_cpu, served_cpu = [], [], [], []
        for _ in range(ROUNDS):
            seconds, cpu = offline(predictor, clips)
            alone.append(seconds)
            alone_cpu.append(cpu)
            seconds, cpu = through(live, client, clips)
            served.append(seconds)
            served_cpu.append(cpu)
        added = latency_added(live, clips)
    speedup, extra = sum(alone) / sum(served), sum(served_cpu) / sum(alone_cpu)
    step = model_step(predictor)
    return [
        bench_of.figure("throughput of the ensemble / one offline thread", speedup, "x", ">= 1.5", speedup >= 1.5),
        bench_of.figure("clips per second through the ensemble, 30 s wav", CLIPS * ROUNDS / sum(served), "1/s"),
        bench_of.figure("CPU of the server per clip / offline path", extra, "x", "<= 1.25", extra <= 1.25),
        bench_of.figure("latency added over decode and extraction, p50, 1 client", added[0] * 1e3, "ms"),
        bench_of.figure(
            "latency added over decode and extraction, p99, 1 client", added[1] * 1e3, "ms", "<= 10", added[1] <= 0.010
        ),
        bench_of.figure("model step, batch of 1", step[1] * 1e3, "ms", "<= 0.3", step[1] <= 0.0003),
        bench_of.figure("model step, batch of 16", step[16] * 1e3, "ms", "<= 1", step[16] <= 0.001),
    ]


def offline(predictor: Predictor, clips: list[bytes]) -> tuple[float, float]:
    """Wall and CPU seconds of one thread over the clips."""
    started, cpu = time.perf_counter(), time.thread_time()
    for clip in clips:
        predictor.scores(extract_item(clip).features[None])
    return time.perf_counter() - started, time.thread_time() - cpu


def through(live: bench_of.Bench, client: GenreClient, clips: list[bytes]) -> tuple[float, float]:
    """Wall seconds at the client and CPU seconds of the server with all its stubs."""
    pids = [live.server.pid, *(pid for pid, state, _ in children(live.server.pid) if state != "Z")]
    started, cpu = time.perf_counter(), bench_of.cpu_seconds(pids)
    client.predict(clips, log=False)
    return time.perf_counter() - started, bench_of.cpu_seconds(pids) - cpu


def latency_added(live: bench_of.Bench, clips: list[bytes]) -> tuple[float, float]:
    """p50 and p99 of (what one client waits) - (what the same item's decode and extraction took, by its log row)."""
    import tritonclient.grpc as grpcclient

    server: Any = grpcclient.InferenceServerClient(live.server.grpc)
    waits: dict[str, float] = {}
    for i in range(SINGLE):
        tensor = grpcclient.InferInput(AUDIO, [1, 1], "BYTES")
        item = np.array([[clips[i % len(clips)]]], dtype=object)
        started = time.perf_counter()
        tensor.set_data_from_numpy(item)
        server.infer(ENSEMBLE, [tensor], request_id=f"single-{i}")
        waits[f"single-{i}"] = time.perf_counter() - started
    server.close()
    works = {row.request_id: (row.decode_ms + row.extract_ms) / 1e3 for row in bench_of.logged(live.settings)}
    added = [waits[name] - works[name] for name in waits]
    return bench_of.percentile(added, 0.5), bench_of.percentile(added, 0.99)


def model_step(predictor: Predictor) -> dict[int, float]:
    """Median seconds of the predictor's step for a batch of 1 and of 16 rows."""
    columns = len(FEATURE_SETS["default"].columns)
    rows = np.random.default_rng(0).standard_normal((16, 1, columns)).astype(np.float32)
    return {n: bench_of.percentile(bench_of.timed(lambda n=n: predictor.scores(rows[:n]), 200), 0.5) for n in (1, 16)}
