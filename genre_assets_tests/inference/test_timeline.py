"""A timeline of a whole file, through a real Triton: by both clients, and the command."""

import asyncio
import fcntl
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from genre_assets.errors import PermanentFailure
from genre_assets.inference.request_log import read
from genre_assets.triton.client.aio import AsyncGenreClient
from genre_assets.triton.client.prediction import Prediction, decode
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.client.wire import Transport
from genre_assets_tests.audio.sounds import sound_file
from genre_assets_tests.inference.test_heard import at_terminal, lines_of_json
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack

RATE = 8_000


def tone(hertz: float, seconds: float) -> np.ndarray:
    samples: np.ndarray = (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)
    return samples


# A low tone, a high one, nothing, and a rest that is too short: what a toy model says of the tones is theirs alone.
PIECE = np.concatenate([tone(100, 20), tone(3_000, 30), np.zeros(10 * RATE, np.float32), tone(100, 10), tone(100, 3)])
SPANS = [(0.0, 20.0, ""), (20.0, 50.0, ""), (50.0, 60.0, "silent"), (60.0, 70.0, ""), (70.0, 73.0, "too_short")]


def check(answer: Prediction, plain: Prediction, labels: list[str]) -> None:
    assert (answer.label, answer.probabilities, answer.heard) == (plain.label, plain.probabilities, plain.heard)
    line = answer.timeline
    assert line is not None
    assert (line.heard_s, line.of_s, line.note, line.error) == (73.0, 73.0, "", "")
    spans = line.spans()
    assert [(s.start_s, s.end_s, s.error) for s in spans] == SPANS
    low, high, _, again, _ = (span.label for span in spans)
    assert low == again != high
    assert {low, high} <= set(labels)
    assert [s.start_s for s in line.segments] == [10.0 * n for n in range(8)]
    for segment in line.segments:
        assert segment.error or sum(segment.probabilities.values()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_spans_change_where_the_sound_does_and_the_items_own_answer_stays(
    live: LiveStack, transport: Transport
) -> None:
    items: list[bytes | str] = [sound_file(PIECE, rate=RATE, container="FLAC"), b"rubbish" * 50, clip(1)]
    plain = live.client.predict(items, log=False)
    assert [answer.timeline for answer in plain] == [None] * 3

    async def ask_async() -> list[Prediction]:
        async with AsyncGenreClient.from_settings(live.settings, transport=transport) as client:
            return await client.predict(items, log=False, timeline=True)

    with GenreClient.from_settings(live.settings, transport=transport) as client:
        for answers in (client.predict(items, log=False, timeline=True), asyncio.run(ask_async())):
            check(answers[0], plain[0], client.labels)
            broken, short = answers[1].timeline, answers[2].timeline
            assert broken is not None
            assert broken.error.startswith("undecodable")
            assert broken.segments == ()
            assert short is not None
            (only,) = short.segments
            assert only.label == answers[2].label


def test_the_command_prints_spans_and_each_segment_as_json(live: LiveStack, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.wav", tmp_path / "broken.wav"
    data = sound_file(PIECE, rate=RATE)
    whole.write_bytes(data)
    broken.write_bytes(data[: len(data) // 2])
    code, (_, first, *table) = at_terminal(live, str(whole), "--timeline")
    assert code == 0
    assert first.endswith("  heard 30 s of 1:13")
    assert [line.split()[:3] for line in table] == [
        ["0:00", "-", "0:20"], ["0:20", "-", "0:50"], ["0:50", "-", "1:00"], ["1:00", "-", "1:10"], ["1:10", "-", "1:13"],
    ]  # fmt: skip
    assert table[2].endswith("(silent)")
    sound, line = map(json.loads, lines_of_json(live, str(whole), str(broken), "--timeline"))
    assert sound["heard"] == {"from_s": 0.0, "seconds": 30.0, "of_s": 73.0}
    assert len(sound["timeline"]["segments"]) == 8
    assert line["error"].startswith("truncated")
    assert [(s["start_s"], s["error"]) for s in line["timeline"]["segments"]] == [(10.0 * n, "") for n in range(4)]
    assert line["timeline"]["note"].startswith("cut off")


def test_an_item_with_a_timeline_is_one_row_of_the_log(live: LiveStack) -> None:
    def logged(tag: str) -> int:
        return int((read(live.database, answered_only=False)["tag"] == tag).sum())

    for tag, timeline in (("a timeline", True), ("after it", False)):
        with GenreClient.from_settings(live.settings, tag=tag) as client:
            client.predict([sound_file(PIECE, rate=RATE)], timeline=timeline)
    until(lambda: logged("after it") == 1, "the row of the request after it", 20)
    assert logged("a timeline") == 1


def test_when_as_many_are_made_as_can_be_others_are_answered_and_the_next_one_waits(live: LiveStack) -> None:
    folder = live.settings.home / "triton" / "timelines"
    folder.mkdir(exist_ok=True)
    count = max(1, live.settings.extractors - 1)
    held = [(folder / f"{number}.lock").open("w") for number in range(count)]
    for file in held:
        fcntl.flock(file, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(live.client.predict, [clip(1)], log=False, timeline=True)
        time.sleep(1.0)
        assert live.client.predict([clip(2)], log=False)[0].error == ""
        assert not asked.done()
        for file in held:
            file.close()
        (answer,) = asked.result(timeout=30)
    assert answer.timeline is not None
    assert answer.timeline.error == ""


class Before:
    """An answer of a release that made no timelines."""

    def as_numpy(self, name: str) -> np.ndarray | None:
        return None if name in {"TIMELINE", "HEARD"} else np.zeros((0, 1))


def test_a_release_of_before_timelines_is_told_from_one_without_segments() -> None:
    assert decode(Before(), []) == []
    with pytest.raises(PermanentFailure, match="materialise triton_repo"):
        decode(Before(), [], timeline=True)


def two_hours(seconds: int) -> bytes:
    """A sound in each segment, and little else: FLAC keeps it small."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC", subtype="PCM_16") as output:
        for _ in range(seconds // 10):
            output.write(tone(440, 0.5))
            output.write(np.zeros(round(9.5 * RATE), np.float32))
    return file.getvalue()


def extractors(live: LiveStack) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if (
            "triton_python_backend_stub" in command
            and "pre_processor" in command
            and str(live.settings.home) in command
        ):
            yield process


@pytest.mark.long
def test_two_hours_are_answered_in_the_memory_of_a_minute(live: LiveStack) -> None:
    def peak(data: bytes) -> tuple[float, float]:
        processes = list(extractors(live))
        assert processes
        for process in processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak is counted from here
        (answer,) = live.client.predict([data], log=False, timeline=True)
        assert answer.timeline is not None
        assert (answer.timeline.error, answer.timeline.note) == ("", "")
        status = [Path(f"/proc/{process.pid}/status").read_text() for process in processes]
        return answer.timeline.heard_s, max(int(s.partition("VmHWM:")[2].split()[0]) for s in status) / 1024

    live.client.predict([two_hours(60)] * 4, log=False)
    minute, before = peak(two_hours(60))
    long = two_hours(7_200)
    heard, after = peak(long)
    assert (minute, heard) == (60.0, 7_200.0)
    assert after < before + 32 + 3 * len(long) / 2**20
