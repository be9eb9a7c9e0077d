"""Hostile files: whatever is in one, the decoder answers with sound or a reason, in time, in little memory.

Files of every format are damaged at random (deterministic by seed) and decoded in a worker process, as in production; a
crash, a hang or an unforeseen exception fails the test with the seed that made it.
"""

import os
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.decoding.reasons import AudioError
from genre_assets.audio.workers.pool import Lost, map_files
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import av_file, music, sound_file

MUTATIONS = 40  # of each file
LIMIT_SECONDS = 25.0
LIMIT_MEGABYTES = 400
written: list[str] = []


def corpus() -> dict[str, bytes]:
    sound = music(1.3, seed=5)
    return {
        "wav": sound_file(sound),
        "wav float": sound_file(np.stack([sound, sound], axis=1), subtype="FLOAT"),
        "flac": sound_file(sound, container="FLAC"),
        "ogg": sound_file(sound, container="OGG", subtype="VORBIS"),
        "mp3": sound_file(sound, container="MP3", subtype="MPEG_LAYER_III"),
        "aiff": sound_file(sound, container="AIFF"),
        "m4a": av_file(sound),
        "matroska": av_file(sound, container="matroska"),
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    }


def damaged(data: bytes, seed: int) -> bytes:
    """One of: bytes overwritten, mostly in the headers; a part cut out, doubled or zeroed; an end missing or appended."""
    rng = np.random.default_rng(seed)
    array = np.frombuffer(data, np.uint8).copy()
    kind = seed % 6
    at, length = int(rng.integers(len(array))), int(rng.integers(1, 200))
    if kind <= 1:
        places = rng.integers(0, min(len(array), 200 if kind else len(array)), rng.integers(1, 30))
        array[places] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))], len(places))
    elif kind == 2:
        array = np.delete(array, slice(at, at + length))
    elif kind == 3:
        array = np.concatenate((array[:at], array[max(0, at - length) :]))
    elif kind == 4:
        array = array[: max(1, at)]
    else:
        array = np.concatenate((array, rng.integers(0, 256, length).astype(np.uint8)))
    return array.tobytes()


def note_writing(event: str, arguments: tuple[object, ...]) -> None:
    writing = (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )
    if writing and arguments[0] != os.devnull:  # of the decoder process
        written.append(str(arguments[0]))


def attack(store: ObjectStore, task: tuple[str, int], *, data: dict[str, bytes]) -> tuple[float, float, list[str]]:
    """Decode one damaged file; (seconds, peak megabytes of the process, files opened for writing)."""
    if not written:
        sys.addaudithook(note_writing)
        written.append("")
    name, seed = task
    started = time.monotonic()
    with suppress(AudioError):
        decode(damaged(data[name], seed), min_seconds=0.1)
    return time.monotonic() - started, peak_megabytes(), written[1:]


def peak_megabytes() -> float:
    """Most memory that this program has held; getrusage would count what its parent held when it forked, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_no_damaged_file_crashes_hangs_or_swells_the_decoder(settings: Settings) -> None:
    data = corpus()
    tasks = [(name, seed) for name in data for seed in range(MUTATIONS)]
    results = dict(map_files(partial(attack, data=data), tasks, settings=settings))
    assert len(results) == len(tasks)
    killed = [task for task, result in results.items() if isinstance(result, Lost)]
    assert killed == []
    measured = [result for result in results.values() if not isinstance(result, Lost)]
    assert max(seconds for seconds, _, _ in measured) < LIMIT_SECONDS
    assert max(peak for _, peak, _ in measured) < LIMIT_MEGABYTES
    assert {path for _, _, paths in measured for path in paths} == set()


@pytest.mark.parametrize("kind", ["playlist", "concat"])
def test_a_list_of_other_files_is_not_followed(kind: str) -> None:
    with pytest.raises(AudioError):
        decode(corpus()[kind])


def test_a_header_that_promises_terabytes_costs_nothing() -> None:
    data = bytearray(sound_file(music(1.2)))
    at = data.index(b"data") + 4
    data[at : at + 4] = (0x7FFFEFFF).to_bytes(4, "little")
    with pytest.raises(AudioError, match="truncated"):
        decode(bytes(data))
