"""Decoding what strangers made, in processes that hold nothing worth taking and can do nothing but decode.

Whatever is not plain samples is handed, as an open file, to a decoder process (`sandbox_worker`): a fresh program without
secrets, network, files or child processes (`sandbox_limits`). Samples come back in shared memory, facts as JSON, and both
are checked here. A decoder that dies, hangs or answers nonsense costs its file alone.
"""

import atexit
import logging
import math
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.sandbox_process import Decoder, DecoderLost
from genre_assets.audio.decoding.stream import SAMPLE_RATES, CannotRead, OtherCodec, Stream, Window

log = logging.getLogger(__name__)


def read(source: bytes | Path, window: Window) -> Stream:
    """Decode the window of a file in a decoder process.

    Raises `CannotRead`, `OtherCodec`; `AudioError` for a file that ends or stalls its decoder; `PermanentFailure` if no
    decoder can be started.
    """
    with _opened(source) as descriptor:
        try:
            return _ask(descriptor, window)
        except DecoderLost as lost:
            if lost.stalled:
                raise AudioError(Reason.UNDECODABLE, f"it stalled its decoder: {lost}") from None
            log.warning("a decoder process was lost: %s; the file is tried once more", lost)
        try:  # it may have been the machine: a second chance
            return _ask(descriptor, window)
        except DecoderLost as lost:
            raise AudioError(Reason.UNDECODABLE, f"its decoder was lost twice: {lost}") from None


def blocks(source: bytes | Path, seconds: float) -> Iterator[Stream]:
    """The whole file in a decoder process, in blocks of so many seconds; the last one is empty. Raises as `read`.

    What was given before an error stands. A decoder that is lost is not asked again.
    """
    with _opened(source) as descriptor, _pool.decoder(Window(seconds, "start")) as decoder:
        try:
            yield from decoder.blocks(descriptor, seconds)
        except DecoderLost as lost:
            raise AudioError(Reason.UNDECODABLE, f"its decoder was lost: {lost}") from None


def tags(source: Path) -> dict[str, str]:
    """What a file says of itself (artist, album_artist, album), read in a decoder process; nothing if it cannot be read."""
    with _opened(source) as descriptor, _pool.decoder(Window(1.0, "start")) as decoder:
        try:
            return decoder.tags(descriptor)
        except (CannotRead, OtherCodec, DecoderLost):
            return {}


def _ask(descriptor: int, window: Window) -> Stream:
    with _pool.decoder(window) as decoder:
        return decoder.read(descriptor, window)


def start(max_seconds: float) -> None:
    """Have a decoder process start now, without waiting for it: the first file need not."""
    with _pool.decoder(Window(max_seconds, "start")):
        pass


def processes() -> list[int]:
    """Process ids of the decoders that wait for work."""
    return _pool.processes()


def close() -> None:
    """End the decoders that wait for work; the next file starts another."""
    _pool.close()


@contextmanager
def _opened(source: bytes | Path) -> Iterator[int]:
    """A descriptor of the content, which the decoder can read and not change."""
    if isinstance(source, Path):
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    else:
        descriptor = os.memfd_create("audio", os.MFD_CLOEXEC)
    try:
        if isinstance(source, bytes):
            rest = memoryview(source)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        yield descriptor
    finally:
        os.close(descriptor)


class _Pool:
    """The decoders of this process: as many as are used at once, kept for the next files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Decoder] = []

    @contextmanager
    def decoder(self, window: Window) -> Iterator[Decoder]:
        """A decoder for this thread alone."""
        capacity = max(mmap.PAGESIZE, math.ceil(4 * (window.max_seconds * SAMPLE_RATES[1] + 1)))
        taken = self._take(capacity)
        try:
            yield taken
        finally:
            with self._lock:
                self._idle.append(taken)

    def _take(self, capacity: int) -> Decoder:
        while True:
            with self._lock:
                found = self._idle.pop() if self._idle else None
            if found is None:
                return Decoder(capacity)
            if found.usable(capacity):
                return found
            found.stop()

    def processes(self) -> list[int]:
        with self._lock:
            return [decoder.process.pid for decoder in self._idle if decoder.process.poll() is None]

    def close(self) -> None:
        with self._lock:
            ended, self._idle = self._idle, []
        for decoder in ended:
            decoder.stop()

    def forget(self) -> None:
        """In a fork: the decoders belong to the parent."""
        self._lock = threading.Lock()
        for decoder in self._idle:
            decoder.process.returncode = 0
            decoder.forget()
        self._idle = []


_pool = _Pool()
atexit.register(_pool.close)
os.register_at_fork(after_in_child=_pool.forget)
