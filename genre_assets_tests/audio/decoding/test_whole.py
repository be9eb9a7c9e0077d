"""Every segment of a file, whatever its format, and where it ends: the same samples as those of one decoding."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.whole import WholeFile
from genre_assets_tests.audio.sounds import RATE, av_file, sound_file

SECONDS, SEGMENT = 11.0, 2.0
SOUND = (0.1 * np.random.default_rng(1).standard_normal(round(SECONDS * RATE))).astype(np.float32)
FORMATS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: sound_file(SOUND),
    "aiff, two channels": lambda: sound_file(np.stack([SOUND, SOUND], axis=1), container="AIFF"),
    "flac": lambda: sound_file(SOUND, container="FLAC"),
    "ogg": lambda: sound_file(SOUND, container="OGG", subtype="VORBIS"),
    "mp3": lambda: sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III"),
    "m4a": lambda: av_file(SOUND),
    "aac": lambda: av_file(SOUND, container="adts"),
    "mp3 in wav": lambda: av_file(SOUND, container="wav", codec="mp3"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_segments_are_the_whole_file_in_order(name: str) -> None:
    data = FORMATS[name]()
    whole = WholeFile(data, SEGMENT)
    segments = [(s.index, s.start_s, s.seconds, s.samples.copy()) for s in whole.segments()]
    at_once = decode(data, max_seconds=60.0)
    assert whole.sample_rate == RATE
    assert [index for index, *_ in segments] == list(range(len(segments)))
    assert [start for _, start, *_ in segments] == pytest.approx([SEGMENT * n for n in range(len(segments))])
    assert {seconds for *_, seconds, _ in segments[:-1]} == {SEGMENT}
    np.testing.assert_array_equal(np.concatenate([samples for *_, samples in segments]), at_once.samples)
    assert whole.heard_s == pytest.approx(SECONDS, abs=0.2)
    assert (whole.of_s is None) == (name == "aac")
    assert whole.ended == ""


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_a_file_that_breaks_off_gives_what_was_before_and_says_so(name: str, tmp_path: Path) -> None:
    data = FORMATS[name]()
    broken = tmp_path / "broken"
    broken.write_bytes(data[: len(data) * 2 // 3])
    whole = WholeFile(broken, SEGMENT)
    if name == "m4a":  # its index stands at the end
        with pytest.raises(AudioError, match="truncated"):
            list(whole.segments())
        return
    assert len(list(whole.segments())) >= 3
    assert SECONDS / 2 < whole.heard_s < SECONDS * 0.8
    assert name == "mp3" or "cut off" in whole.ended or "lost sync" in whole.ended


def test_a_file_that_is_damaged_in_its_middle_is_heard_as_far_as_it_goes() -> None:
    data = bytearray(FORMATS["flac"]())
    middle = len(data) // 2
    data[middle : middle + 60_000] = bytes(60_000)
    whole = WholeFile(bytes(data), SEGMENT)
    assert len(list(whole.segments())) >= 2
    assert whole.ended


def test_whoever_stops_in_the_middle_leaves_no_decoder_that_answers_of_the_old_file() -> None:
    for _ in range(2):
        for _ in WholeFile(FORMATS["flac"](), SEGMENT).segments():
            break
        assert decode(FORMATS["ogg"]()).format == "ogg"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", Reason.EMPTY), (b"rubbish" * 50, Reason.UNDECODABLE), (b"%PDF" + bytes(99), Reason.UNSUPPORTED),
     (sound_file(SOUND[:0]), Reason.EMPTY), (sound_file(SOUND[:99], rate=1_000), Reason.UNSUPPORTED)],
)  # fmt: skip
def test_a_file_of_which_nothing_can_be_read_is_refused_with_its_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(AudioError) as refused:
        list(WholeFile(data, SEGMENT).segments())
    assert refused.value.reason is reason
