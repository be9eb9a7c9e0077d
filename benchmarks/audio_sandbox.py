"""What it costs to decode in a process without secrets: the same clips decoded there and here, in turn, in one run.

And what our own reader of wav takes beside libsndfile. Wall time, since two processes share the work.
"""

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import soundfile

from benchmarks._audio_common import at_least, at_most, clips, row
from genre_assets.audio.decoding import sandbox, sandbox_worker, wav
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.decoding.stream import Window
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.extract import extract

WINDOW = Window(30.0, "start")
CLIPS, REPEATS = 6, 7
ALLOWED = 1.10


def _encoded(samples: Floats, rate: int, container: str) -> bytes:
    file = io.BytesIO()
    if container != "m4a":
        soundfile.write(file, samples, rate, format=container)
        return file.getvalue()
    with av.open(file, "w", format="ipod") as output:
        stream: Any = output.add_stream("aac", rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler("fltp", "mono", rate, stream.codec_context.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def _medians(methods: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(REPEATS + 1):
        for name, method in methods.items():
            started = time.perf_counter()
            method()
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def _by_libsndfile(data: bytes) -> None:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        file.read(round(30 * file.samplerate), dtype="float32", always_2d=True).mean(axis=1, dtype=np.float32)


def _item(samples: Floats, rate: int) -> None:
    extract(samples, rate)


def run() -> list[dict[str, Any]]:
    """Ratios for each format: of decoding, and of a whole item (decoding and features)."""
    paths = clips()[:: max(1, len(clips()) // CLIPS)][:CLIPS]
    sounds = [decode(path) for path in paths]
    rows = []
    for container in ("MP3", "FLAC", "OGG", "m4a"):
        decoding, items = [], []
        for clip in sounds:
            data = _encoded(clip.samples, clip.sample_rate, container)
            found = _medians(
                {
                    "here": lambda data=data: sandbox_worker.decode(io.BytesIO(data), WINDOW),  # type: ignore[misc]
                    "there": lambda data=data: sandbox.read(data, WINDOW),  # type: ignore[misc]
                    "features": lambda clip=clip: _item(clip.samples, clip.sample_rate),  # type: ignore[misc]
                }
            )
            decoding.append(found["there"] / found["here"])
            items.append((found["there"] + found["features"]) / (found["here"] + found["features"]))
        name = container.lower()
        rows.append(row(f"sandbox / here, decoding {name}", statistics.median(decoding), "x", __name__))
        rows.append(at_most(f"sandbox / here, {name} item", statistics.median(items), ALLOWED, "x", __name__))
    ratios = []
    for path in paths:
        data = path.read_bytes()
        found = _medians(
            {
                "ours": lambda data=data: wav.read(io.BytesIO(data), WINDOW, len(data)),  # type: ignore[misc]
                "libsndfile": lambda data=data: _by_libsndfile(data),  # type: ignore[misc]
            }
        )
        ratios.append(found["libsndfile"] / found["ours"])
    rows.append(at_least("libsndfile / our reader, wav", statistics.median(ratios), 1.0, "x", __name__))
    return rows
