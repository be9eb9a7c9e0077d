"""Every format through a real Triton, whose decoding happens in processes that hold none of its secrets."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genre_assets_tests.audio.sounds import av_file, music, sound_file
from genre_assets_tests.serving.live_stack import LiveStack

pytestmark = pytest.mark.stack

SOUND = music(3.0, seed=2)
FORMATS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: sound_file(SOUND),
    "mp3": lambda: sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III"),
    "flac": lambda: sound_file(SOUND, container="FLAC"),
    "vorbis": lambda: sound_file(SOUND, container="OGG", subtype="VORBIS"),
    "opus": lambda: sound_file(music(3.0, rate=48_000), rate=48_000, container="OGG", subtype="OPUS"),
    "m4a": lambda: av_file(SOUND),
}


def decoders(live: LiveStack) -> Iterator[tuple[int, Path]]:
    """The decoder processes of this Triton: (process id, its place in /proc)."""
    releases = str(live.settings.home)
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            if b"sandbox_worker" in command and releases in (place / "environ").read_text():
                yield int(place.name), place
        except OSError:
            continue


def test_each_format_is_answered_and_another_codec_refused_by_name(live: LiveStack) -> None:
    answers = live.client.predict([*[make() for make in FORMATS.values()], av_file(SOUND, codec="alac")])
    for name, answer in zip(FORMATS, answers, strict=False):
        assert (answer.error, bool(answer.label)) == ("", True), name
    assert answers[-1].error.startswith("unsupported: its codec is alac")

    processes = list(decoders(live))
    assert processes
    secret = live.settings.s3_secret_key.get_secret_value()
    for process, place in processes:
        environment = (place / "environ").read_text()
        assert "GENRE_" not in environment
        assert secret not in environment.split("\0")
        assert "Seccomp:\t2" in (place / "status").read_text()
        os.kill(process, signal.SIGKILL)

    again = live.client.predict([FORMATS["mp3"](), FORMATS["wav"]()])  # a decoder is replaced when it is needed
    assert [answer.error for answer in again] == ["", ""]
