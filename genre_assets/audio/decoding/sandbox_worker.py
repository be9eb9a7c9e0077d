"""The sandboxed decoder: gets open files over a socket, answers with samples in shared memory. Started by `sandbox`.

It is a program of its own (never a fork of a process that holds secrets) with nothing in its environment. It believes
nothing of a file; and the other end believes nothing of its answers, which are a fixed header and a few facts as JSON.
"""

import io
import json
import mmap
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from genre_assets.audio.decoding import av, sndfile
from genre_assets.audio.decoding.containers import kind_of
from genre_assets.audio.decoding.sandbox_limits import allow_seconds, protect
from genre_assets.audio.decoding.stream import DECODE_SECONDS, CannotRead, Floats, OtherCodec, Stream, Window
from genre_assets.audio.dsp.memory import keep_freed_memory

REQUEST = struct.Struct("<4sdBd")  # magic, seconds wanted, which part, where a random part starts
REPLY = struct.Struct("<4sBQ")  # magic, outcome, samples in the shared memory; then JSON
MAGIC = b"GAD1"
READY, SOUND, CANNOT_READ, OTHER_CODEC, SAID = range(5)
OFFSETS: tuple[Literal["start", "middle", "random"], ...] = ("start", "middle", "random")
WHOLE = len(
    OFFSETS
)  # in place of an offset: all of the file in blocks, each when `MORE` asks for it; the last is empty
MORE = b"more"
TAGS = WHOLE + 1  # in place of an offset: no sound, but what the file says of itself
TAG_NAMES = ("artist", "album_artist", "album")
LONGEST_TAG = 200
LONGEST_MESSAGE = 8192
LONGEST_TEXT = 300
CPU_SECONDS = DECODE_SECONDS + 10.0  # several threads of a decoder add up


def main(arguments: list[str]) -> None:
    """Serve until the other end is closed."""
    descriptor, shared, capacity, follow_parent = map(int, arguments)
    pipe = socket.socket(fileno=descriptor)
    out = np.frombuffer(mmap.mmap(shared, capacity), np.float32)
    keep_freed_memory()
    np.seterr(all="ignore")  # what a damaged file holds may overflow; the other end looks at the samples
    _warm(out)
    protection = protect(follow_parent=bool(follow_parent))
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    _answer(pipe, READY, 0, asdict(protection))
    while True:
        request, files, _, _ = socket.recv_fds(pipe, LONGEST_MESSAGE, 1)
        if not request:
            return
        magic, seconds, offset, position = REQUEST.unpack(request)
        if magic != MAGIC:
            raise ValueError("no request of ours")
        allow_seconds(CPU_SECONDS)
        with os.fdopen(files[0], "rb", buffering=1 << 16) as file:
            try:
                if offset == TAGS:
                    said = av.tags(file)
                    _answer(pipe, SAID, 0, {name: said[name][:LONGEST_TAG] for name in TAG_NAMES if name in said})
                    continue
                if offset == WHOLE:
                    stream = _answer_blocks(pipe, file, Window(seconds, "start"), out)
                else:
                    stream = decode(file, Window(seconds, OFFSETS[offset], position), out)
            except CannotRead as error:
                _answer(pipe, CANNOT_READ, 0, {"text": str(error)[:LONGEST_TEXT]})
            except OtherCodec as error:
                _answer(pipe, OTHER_CODEC, 0, {"text": str(error)[:LONGEST_TEXT]})
            else:
                _answer(pipe, SOUND, len(stream.samples), _facts(stream))


def decode(file: BinaryIO, window: Window, out: Floats | None = None) -> Stream:
    """What the first decoder that finds any sample makes of it. Raises `CannotRead`, `OtherCodec`."""
    kind, start = kind_of(file)
    problems = []
    empty: Stream | None = None
    if kind in {"flac", "ogg", "mp3"}:
        try:
            stream = sndfile.read(_from(file, start), window, out)
            if len(stream.samples):
                return stream
            empty = stream
        except CannotRead as problem:
            problems.append(str(problem))
    file.seek(0)
    try:
        stream = av.read(file, window, out)
        return stream if len(stream.samples) or empty is None else empty
    except CannotRead as problem:
        if empty is not None:
            return empty
        raise CannotRead("; ".join([*problems, str(problem)])) from None


def blocks(file: BinaryIO, window: Window, out: Floats) -> Iterator[Stream]:
    """The whole file in blocks of the window's length, by the first decoder that finds any sample.

    Raises `CannotRead`, `OtherCodec`.
    """
    kind, start = kind_of(file)
    problems = []
    if kind in {"flac", "ogg", "mp3"}:
        begun = False
        try:
            for stream in sndfile.blocks(_from(file, start), window, out):
                begun = begun or len(stream.samples) > 0
                if begun:
                    yield stream
        except CannotRead as problem:
            if begun:
                raise
            problems.append(str(problem))
        if begun:
            return
    file.seek(0)
    try:
        yield from av.blocks(file, window, out)
    except CannotRead as problem:
        raise CannotRead("; ".join([*problems, str(problem)])) from None


def _from(file: BinaryIO, start: int) -> "BinaryIO | int":
    """The file from `start` on, as libsndfile may see it; as a descriptor where it can be, which is faster."""
    if start:
        return cast("BinaryIO", _Behind(file, start))
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:
        file.seek(0)
        return file
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class _Behind(io.RawIOBase):
    """A file without its first `start` bytes: its tags, behind which libsndfile would look for any of its formats."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self.file, self.start = file, start
        file.seek(start)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            position += self.start
        return self.file.seek(position, whence) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]


def _warm(out: Floats) -> None:
    """Decode a sound of our own with both libraries: whatever they load or make at first use, they have after this."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.zeros(4096, np.float32), 8000, format="FLAC", subtype="PCM_16")
    for read in (sndfile.read, av.read):
        file.seek(0)
        read(file, Window(0.1, "start"), out)


def _answer_blocks(pipe: socket.socket, file: BinaryIO, window: Window, out: Floats) -> Stream:
    """Give block after block; the empty one that ends them is left to the caller."""
    stream = None
    for stream in blocks(file, window, out):
        if not len(stream.samples):
            return stream
        _answer(pipe, SOUND, len(stream.samples), _facts(stream))
        if pipe.recv(LONGEST_MESSAGE) != MORE:
            raise ValueError("no request of ours")
        allow_seconds(CPU_SECONDS)
    if stream is None:
        raise CannotRead("no sample in it")
    return replace(stream, samples=stream.samples[:0])


def _facts(stream: Stream) -> dict[str, object]:
    return {
        "rate": stream.sample_rate, "duration": stream.duration_s, "channels": stream.channels,
        "format": stream.format, "known": stream.is_length_known,
    }  # fmt: skip


def _answer(pipe: socket.socket, outcome: int, samples: int, facts: dict[str, object]) -> None:
    pipe.send(REPLY.pack(MAGIC, outcome, samples) + json.dumps(facts).encode())


def _end_with_parent(descriptor: int) -> None:
    """End at once when the other end of the socket is closed, even in the middle of a file."""
    ended = select.poll()
    ended.register(descriptor, 0)
    ended.poll()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
