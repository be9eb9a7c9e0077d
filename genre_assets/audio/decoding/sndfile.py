"""Decoding with libsndfile: FLAC, Ogg (Vorbis, Opus) and MP3. Runs in the sandbox alone: its formats are native code."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from genre_assets.audio.decoding.stream import (
    BLOCK_VALUES,
    DECODE_SECONDS,
    CannotRead,
    Floats,
    OtherCodec,
    Stream,
    Window,
    room_for,
)

if TYPE_CHECKING:
    from soundfile import SoundFile

FORMATS = frozenset({"FLAC", "OGG", "MP3", "MPEG"})
_OTHER_SUBTYPES = {"MPEG_LAYER_I": "MPEG layer 1", "MPEG_LAYER_II": "MPEG layer 2"}


def read(file: BinaryIO | int, window: Window, out: Floats | None = None) -> Stream:
    """Decode the window, of a file or of an open descriptor, into `out` if it is given.

    Raises `CannotRead` if libsndfile cannot, `OtherCodec` for a codec that is not on the list.
    """
    with _opened(file) as sound:
        first = round(window.start(sound.frames / sound.samplerate) * sound.samplerate)
        if first:
            sound.seek(first)
        room = room_for(window, sound.samplerate)
        samples = np.empty(room, np.float32) if out is None else out[:room]
        return _stream(sound, samples[: _mono(sound, samples)])


def blocks(file: BinaryIO | int, window: Window, out: Floats) -> Iterator[Stream]:
    """All of it, in blocks of the window's length, each in `out` in place of the one before. Raises as `read`."""
    with _opened(file) as sound:
        # soundfile seeks after each read, to where the file stands; after that an MP3 decoder is wrong for some frames.
        sound.seekable = lambda: False
        samples = out[: room_for(window, sound.samplerate)]
        while True:
            done = _mono(sound, samples)
            yield _stream(sound, samples[:done])
            if not done or done < len(samples):
                return


def _stream(sound: "SoundFile", samples: Floats) -> Stream:
    duration = sound.frames / sound.samplerate  # 0 in a FLAC that was written as a stream
    return Stream(samples, sound.samplerate, duration, sound.channels, sound.format.lower(), duration > 0)


@contextmanager
def _opened(file: BinaryIO | int) -> "Iterator[SoundFile]":
    """The file as libsndfile reads it; its errors, also those of the block, are ours."""
    import soundfile

    try:
        with soundfile.SoundFile(file, closefd=False) as sound:
            if sound.format not in FORMATS or sound.subtype in _OTHER_SUBTYPES:
                raise OtherCodec(_OTHER_SUBTYPES.get(sound.subtype, sound.format))
            yield sound
    except (soundfile.LibsndfileError, RuntimeError, ValueError, ZeroDivisionError, OverflowError) as error:
        message = str(getattr(error, "error_string", error))
        raise CannotRead(f"libsndfile: {message}") from None


def _mono(sound: "SoundFile", samples: Floats) -> int:
    """Fill `samples`, mixed down block by block; how many there were."""
    block = max(1, BLOCK_VALUES // sound.channels)
    deadline = time.monotonic() + DECODE_SECONDS
    done = 0
    while done < len(samples):
        data = sound.read(min(block, len(samples) - done), dtype="float32", always_2d=True)
        if not len(data):
            break
        samples[done : done + len(data)] = data[:, 0] if data.shape[1] == 1 else data.mean(axis=1, dtype=np.float32)
        done += len(data)
        if time.monotonic() > deadline:
            raise CannotRead(f"libsndfile: not decoded in {DECODE_SECONDS:g} s")
    return done
