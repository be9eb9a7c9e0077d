"""What strangers made is decoded in a process that holds no secret and can do nothing: the process itself is looked at."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.decoding import sandbox, sandbox_process
from genre_assets.audio.decoding.reasons import AudioError
from genre_assets.audio.decoding.sandbox_worker import decode as decode_here
from genre_assets.audio.decoding.stream import Window
from genre_assets.audio.extract import Limits, extract_item
from genre_assets.audio.extract_paths import extract_paths
from genre_assets.audio.tables.inspect_file import Inspection, inspect
from genre_assets.settings import Settings
from genre_assets_tests.audio.sounds import RATE, av_file, music, sound_file
from genre_assets_tests.waiting import until

SOUND = music(3.0, seed=2)
SECRET = "a-secret-of-the-tests-47110815"

# The calls that a decoder taken over by a file would want, each in a process that has protected itself as a decoder does.
ATTEMPTS = {
    "open a socket": "import socket; socket.socket()",
    "write a file": "open('/tmp/genre-sandbox-test', 'w')",
    "read a file": "open('/etc/passwd').read()",
    "read the parent's environment": "open(f'/proc/{parent}/environ', 'rb').read()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "signal the parent": "os.kill(parent, 0)",
    "trace the parent": "r = libc.ptrace(16, parent, 0, 0); assert r == 0, PermissionError(ctypes.get_errno())",
    "write where it may": "os.write(given, b'x')",
}
HARNESS = """
import ctypes, os, resource, sys, socket
from genre_assets.audio.decoding.sandbox_limits import protect
parent, libc = os.getppid(), ctypes.CDLL(None, use_errno=True)
given = os.memfd_create("given")
print(protect(follow_parent=True).system_calls, flush=True)
try:
    exec(sys.argv[1])
except (OSError, AssertionError) as error:
    print("refused", error)
else:
    print("done")
"""


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> int:
    """A fresh decoder of this process, which has a secret in its environment, after one file."""
    monkeypatch.setenv("GENRE_S3_SECRET_KEY", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    sandbox.close()
    extract_item(sound_file(SOUND, container="FLAC"))
    (process,) = sandbox.processes()
    return process


def test_a_decoder_holds_no_secret_and_has_its_limits(decoder: int) -> None:
    place = Path(f"/proc/{decoder}")
    environment = dict(entry.split("=", 1) for entry in (place / "environ").read_text().split("\0") if entry)
    assert not [name for name in environment if name.startswith(("GENRE_", "AWS_", "PG", "MLFLOW", "DAGSTER"))]
    assert SECRET not in (place / "environ").read_text()
    regions = [SECRET.encode() in region for region in memory(place)]
    assert len(regions) > 5
    assert not any(regions)
    assert any(SECRET.encode() in region for region in memory(Path("/proc/self")))  # it would be found
    limits = (place / "limits").read_text()
    for name in ("Max file size             0", "Max core file size        0", "Max open files            32"):
        assert name in limits
    assert "Max address space         unlimited" not in limits
    status = (place / "status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    kinds = {str(link.readlink()).split(":")[0] for link in (place / "fd").iterdir()}
    assert kinds <= {"/dev/null", "socket", "/memfd"}


def memory(place: Path) -> Iterator[bytes]:
    """What the process has in memory that it may have written itself."""
    with (place / "mem").open("rb", buffering=0) as file:
        for line in (place / "maps").read_text().splitlines():
            bounds, rights = line.split()[:2]
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if rights.startswith("rw") and "memfd:samples" not in line:
                file.seek(start)
                yield file.read(end - start)


@pytest.mark.parametrize("what", ATTEMPTS)
def test_a_protected_process_can_do_nothing_but_compute(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, ATTEMPTS[what]], capture_output=True, text=True, check=False, timeout=60
    )
    filtered, answer = done.stdout.splitlines()
    assert filtered == "True"
    assert answer.startswith("refused"), answer


def test_a_protected_process_can_be_told_from_one_that_is_not() -> None:
    """The attempts succeed without the protection, so their failure says something."""
    harness = HARNESS.replace("protect(follow_parent=True).system_calls", "True")
    for what in ("open a socket", "read a file", "fork", "signal the parent", "write where it may"):
        done = subprocess.run(
            [sys.executable, "-c", harness, ATTEMPTS[what]], capture_output=True, text=True, timeout=60
        )
        assert "done" in done.stdout, what
        assert "refused" not in done.stdout, what


def test_a_decoder_killed_over_a_file_costs_nothing(decoder: int) -> None:
    """Stopped, so that the file is surely in its hands; then killed: the file is decoded by another."""
    found: list[Inspection] = []
    os.kill(decoder, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: found.append(inspect(sound_file(SOUND, container="FLAC"), Limits())))
    asking.start()
    until(lambda: not sandbox.processes(), "the decoder has the file", 20)
    os.kill(decoder, signal.SIGKILL)
    asking.join(30)
    assert [inspection.verdict for inspection in found] == ["ok"]
    (other,) = sandbox.processes()
    assert other != decoder


def test_a_decoder_that_is_stopped_costs_nothing(decoder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It used no time, so the file is not to blame: it is decoded by another, and not put into the quarantine."""
    monkeypatch.setattr(sandbox_process, "ANSWER_SECONDS", 5.0)
    os.kill(decoder, signal.SIGSTOP)
    assert inspect(sound_file(SOUND, container="FLAC"), Limits()).verdict == "ok"
    assert decoder not in sandbox.processes()


def test_a_file_that_stalls_its_decoder_is_refused_and_the_next_is_not(
    decoder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = sound_file(music(30.0), container="FLAC")
    monkeypatch.setattr(sandbox_process, "ANSWER_SECONDS", 0.001)
    monkeypatch.setattr(sandbox_process, "STALLED_CPU_SECONDS", 0.0)
    with pytest.raises(AudioError, match=r"undecodable: it stalled its decoder: no answer in 0\.001 s"):
        extract_item(long)
    monkeypatch.undo()
    assert extract_item(long).format == "flac"
    assert decoder not in sandbox.processes()


def test_decoders_end_with_their_parent() -> None:
    code = (
        "import sys; from genre_assets.audio.decoding import sandbox; from genre_assets.audio.decoding.stream import Window;"
        "sandbox.read(sys.stdin.buffer.read(), Window(1.0, 'start')); print(sandbox.processes()[0], flush=True);"
        "import signal; signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(sound_file(SOUND, container="FLAC"))
        parent.stdin.close()
        process = int(parent.stdout.readline())
        assert Path(f"/proc/{process}").exists()
        parent.kill()
    until(lambda: not Path(f"/proc/{process}").exists() or "Z" in state(process), "the decoder ended", 10)


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


FILES: dict[str, Callable[[], bytes]] = {
    "mp3": lambda: sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III"),
    "mp3 with tags": lambda: b"ID3\x04\0\0\0\0\x01\x00" + b"\0" * 128 + FILES["mp3"](),
    "flac": lambda: sound_file(SOUND, container="FLAC"),
    "Vorbis": lambda: sound_file(SOUND, container="OGG", subtype="VORBIS"),
    "Opus": lambda: sound_file(music(3.0, rate=48_000), rate=48_000, container="OGG", subtype="OPUS"),
    "m4a": lambda: av_file(SOUND),
    "raw AAC": lambda: av_file(SOUND, container="adts"),
    "MP3 in a wav": lambda: av_file(SOUND, container="wav", codec="libmp3lame"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_sandbox_gives_what_the_decoders_give_here(name: str, tmp_path: Path) -> None:
    data = FILES[name]()
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        here = decode_here(file, Window(2.0, "middle"))
    for source in (data, path):
        there = sandbox.read(source, Window(2.0, "middle"))
        np.testing.assert_array_equal(there.samples, here.samples)
        assert (there.sample_rate, there.duration_s, there.channels) == (
            here.sample_rate,
            here.duration_s,
            here.channels,
        )
    assert len(here.samples) == pytest.approx(2 * here.sample_rate, abs=4000)


REFUSED: dict[str, Callable[[], bytes]] = {
    "alac": lambda: av_file(SOUND, codec="alac"),
    "mp2|MPEG layer 2": lambda: av_file(SOUND, container="mp2", codec="mp2"),
    "Microsoft ADPCM": lambda: av_file(SOUND, container="wav", codec="adpcm_ms"),
    "mu-law": lambda: sound_file(SOUND, subtype="ULAW"),
    "A-law": lambda: sound_file(SOUND, container="AU", subtype="ALAW"),
    "w64": lambda: sound_file(SOUND, container="W64"),
    "caf": lambda: sound_file(SOUND, container="CAF"),
    "voc": lambda: sound_file(SOUND, container="VOC"),
    "behind ID3|FFmpeg": lambda: b"ID3\x04\0\0\0\0\0\0" + sound_file(SOUND, container="W64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_codecs_are_refused_by_name(name: str) -> None:
    with pytest.raises(AudioError, match=name) as refusal:
        extract_item(REFUSED[name]())
    assert "ID3" in name or (
        "unsupported" in str(refusal.value) and "FLAC, Vorbis, Opus, MP3 and AAC" in str(refusal.value)
    )


def test_the_process_that_extracts_has_loaded_no_decoder(tmp_path: Path, settings: Settings) -> None:
    paths = []
    for name in ("mp3", "flac", "m4a"):
        paths.append(tmp_path / f"a.{name}")
        paths[-1].write_bytes(FILES[name]())
    frame = extract_paths(paths, feature_set="gtzan37", settings=settings)
    assert (frame["error"] == "").all()
    code = (
        "import sys; from pathlib import Path; from genre_assets.audio.extract import extract_item;"
        "extract_item(Path(sys.argv[1])); print([m for m in ('av', 'soundfile', '_soundfile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(paths[0])], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_decoder_is_used_again_and_replaced_in_time(decoder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    for _ in range(3):
        assert extract_item(FILES["flac"]()).sample_rate == RATE
    assert sandbox.processes() == [decoder], time.monotonic() - started
    monkeypatch.setattr(sandbox_process, "MOST_ITEMS", 3)
    extract_item(FILES["flac"]())
    assert decoder not in sandbox.processes()
