"""One decoder process, seen from the process that has the secrets: started, asked, disbelieved, replaced."""

import fcntl
import json
import logging
import math
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from genre_assets.audio.decoding import sandbox_worker
from genre_assets.audio.decoding.sandbox_worker import MAGIC, MORE, OFFSETS, REPLY, REQUEST, TAG_NAMES, TAGS, WHOLE
from genre_assets.audio.decoding.stream import DECODE_SECONDS, CannotRead, OtherCodec, Stream, Window, room_for
from genre_assets.errors import PermanentFailure

log = logging.getLogger(__name__)

START_SECONDS = 60.0  # on a machine that is very busy
ANSWER_SECONDS = DECODE_SECONDS + 10.0
STALLED_CPU_SECONDS = 5.0  # of the time for an answer: less, and it was not the file that took it
MOST_ITEMS = 1000  # then a decoder is replaced
MOST_MEMORY = 384 << 20  # bytes of its own after an item; beyond, it is replaced
KEPT_SHARED = 32 << 20  # bytes of shared memory that are kept between files
FORMATS = frozenset({"flac", "ogg", "mp3", "mpeg", "mp4", "matroska", "aac", "wav"})
_ROOT = Path(__file__).resolve().parents[3]
_ENDED, _GONE, _SILENT = "it ended", "it was gone", "no answer"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")  # of the environment


class DecoderLost(Exception):
    """The decoder process ended, hung or answered nonsense. `stalled`: it worked on the file for too long, and would again."""

    def __init__(self, why: str, *, stalled: bool) -> None:
        super().__init__(why)
        self.stalled = stalled


class Decoder:
    """One decoder process and the memory shared with it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity  # bytes
        self.items = 0
        self.ready = False
        self.broken = False
        self.busy = False  # an answer is still to come
        self.used_before = 0.0  # seconds of CPU, before the file
        self._pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._shared = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._shared, capacity)  # its size is sealed: reading it can never run into nothing
        fcntl.fcntl(self._shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        self._memory = mmap.mmap(self._shared, capacity, prot=mmap.PROT_READ)
        self._messages = os.memfd_create("messages", os.MFD_CLOEXEC)
        with theirs:
            in_main = threading.current_thread() is threading.main_thread()
            arguments = [theirs.fileno(), self._shared, capacity, int(in_main)]
            self.process = subprocess.Popen(
                [_python(), "-s", "-B", "-m", sandbox_worker.__name__, *map(str, arguments)],
                pass_fds=[theirs.fileno(), self._shared],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                env=_environment(),
                cwd="/",
            )

    def read(self, descriptor: int, window: Window) -> Stream:
        """Decode an open file. Raises `DecoderLost`, `CannotRead`, `OtherCodec`."""
        request = REQUEST.pack(MAGIC, window.max_seconds, OFFSETS.index(window.offset), window.position)
        stream = self._asked(request, [descriptor], window)
        self.busy = False
        return stream

    def blocks(self, descriptor: int, seconds: float) -> Iterator[Stream]:
        """All of an open file, block after block; the last one is empty. Raises as `read`, also in the middle.

        Whoever does not wait for the end leaves the decoder busy, and it is replaced.
        """
        window = Window(seconds, "start")
        stream = self._asked(REQUEST.pack(MAGIC, seconds, WHOLE, 0.0), [descriptor], window)
        while len(stream.samples):
            yield stream
            stream = self._asked(MORE, [], window)
        self.busy = False
        yield stream

    def tags(self, descriptor: int) -> dict[str, str]:
        """What an open file says of itself: artist, album_artist, album, where it does. Raises as `read`."""
        outcome, _, facts = self._sent(REQUEST.pack(MAGIC, 0.0, TAGS, 0.0), [descriptor])
        self.busy = False
        if outcome != sandbox_worker.SAID:
            raise self._lost("its answer makes no sense")
        return {name: value for name in TAG_NAMES if isinstance(value := facts.get(name), str)}

    def _asked(self, message: bytes, files: list[int], window: Window) -> Stream:
        outcome, count, facts = self._sent(message, files)
        try:
            return self._stream(outcome, count, facts, window)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise self._lost("its answer makes no sense") from None

    def _sent(self, message: bytes, files: list[int]) -> tuple[int, int, dict[str, Any]]:
        if not self.ready:
            self._await_start()
        self.items += 1
        self.busy = True
        self.used_before = self._cpu_seconds()
        try:
            socket.send_fds(self._pipe, [message], files)
        except OSError:
            raise self._lost(_GONE) from None
        outcome, count, facts = self._answer(ANSWER_SECONDS)
        if outcome in {sandbox_worker.CANNOT_READ, sandbox_worker.OTHER_CODEC}:
            self.busy = False
        if outcome == sandbox_worker.CANNOT_READ:
            raise CannotRead(_plain(facts.get("text")))
        if outcome == sandbox_worker.OTHER_CODEC:
            raise OtherCodec(_plain(facts.get("text")))
        return outcome, count, facts

    def _stream(self, outcome: int, count: int, facts: dict[str, Any], window: Window) -> Stream:
        rate, channels, duration = int(facts["rate"]), int(facts["channels"]), float(facts["duration"])
        known = outcome == sandbox_worker.SOUND and facts["format"] in FORMATS
        sane = 0 < rate < 2**31 and 0 <= channels < 2**16 and math.isfinite(duration) and duration >= 0
        if not (known and sane and 4 * count <= self.capacity and count <= room_for(window, rate)):
            raise ValueError
        samples = np.frombuffer(self._memory, np.float32, count).copy()
        return Stream(samples, rate, duration, channels, facts["format"], bool(facts["known"]))

    def _await_start(self) -> None:
        try:
            outcome, _, facts = self._answer(START_SECONDS)
        except DecoderLost as lost:
            said = os.pread(self._messages, 4000, 0).decode(errors="replace").strip()
            raise PermanentFailure(f"the decoder process does not start ({lost}): {said}") from None
        self.ready = outcome == sandbox_worker.READY
        _tell_once(bool(facts.get("system_calls")), bool(facts.get("no_network")))

    def _answer(self, seconds: float) -> tuple[int, int, dict[str, Any]]:
        self._pipe.settimeout(seconds)
        try:
            message = self._pipe.recv(sandbox_worker.LONGEST_MESSAGE)
        except TimeoutError:
            raise self._lost(f"{_SILENT} in {seconds:g} s") from None
        except OSError:
            message = b""
        if not message:
            raise self._lost(_ENDED)
        try:
            magic, outcome, count = REPLY.unpack_from(message)
            facts = json.loads(message[REPLY.size :])
        except (ValueError, RecursionError, struct.error):
            raise self._lost("its answer makes no sense") from None
        if magic != MAGIC or not isinstance(facts, dict):
            raise self._lost("its answer makes no sense")
        return outcome, count, facts

    def _lost(self, why: str) -> DecoderLost:
        # One that was stopped, or got no time on a busy machine, says nothing about the file.
        worked = why.startswith(_SILENT) and self._cpu_seconds() - self.used_before >= STALLED_CPU_SECONDS
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1 if why in {_ENDED, _GONE} else 0)
        code = self.stop()
        return DecoderLost(f"{why} (exit code {code})", stalled=worked or code == -signal.SIGXCPU)

    def _cpu_seconds(self) -> float:
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def usable(self, capacity: int) -> bool:
        """Whether another file may be given to it."""
        used_up = self.broken or self.busy or self.items >= MOST_ITEMS
        if used_up or self.capacity < capacity or self.process.poll() is not None:
            return False
        if not self.items:
            return True
        try:
            resident, shared = map(int, Path(f"/proc/{self.process.pid}/statm").read_text().split()[1:3])
        except OSError:
            return False
        return (resident - shared) * mmap.PAGESIZE <= MOST_MEMORY and os.fstat(
            self._shared
        ).st_blocks * 512 <= KEPT_SHARED

    def stop(self) -> int | None:
        """End it, and give back what it held; its exit code."""
        self.forget()
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def forget(self) -> None:
        """Close what belongs to this process."""
        self.broken = True
        self._pipe.close()
        self._memory.close()
        for descriptor in (self._shared, self._messages):
            if descriptor >= 0:
                os.close(descriptor)
        self._shared = self._messages = -1


@cache
def _python() -> str:
    """The Python of this environment; inside Triton the running program is another."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [Path(sys.executable or "-")] if Path(sys.executable or "-").name.startswith("python") else []
    places += [Path(prefix) / "bin" / name for prefix in (sys.prefix, sys.exec_prefix)]
    found = next((str(place) for place in places if os.access(place, os.X_OK)), None) or shutil.which(name)
    if found is None:
        raise PermanentFailure(f"no {name} for the decoder processes; looked at {', '.join(map(str, places))} and PATH")
    return found


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@cache
def _tell_once(system_calls: bool, no_network: bool) -> None:
    if not system_calls:
        log.warning(
            "this machine does not let decoder processes limit their system calls (seccomp)%s; their other limits hold",
            "" if no_network else ", nor leave the network",
        )


def _plain(text: object) -> str:
    """A decoder's words, printable: they may be made of the file."""
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in str(text))[: sandbox_worker.LONGEST_TEXT]
