"""Decoding with libsndfile: wav, flac, ogg (Vorbis, Opus), mp3, aiff and its other formats."""

import time
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from genre_assets.audio.filters import Floats
from genre_assets.audio.stream import DECODE_SECONDS, CannotRead, Stream, Window

if TYPE_CHECKING:
    from soundfile import SoundFile

BLOCK_VALUES = 1 << 18  # samples times channels decoded at once: 1 MiB


def read(file: BinaryIO, window: Window) -> Stream:
    """Decode the window. Raises `CannotRead` if libsndfile cannot."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            rate, channels = sound.samplerate, sound.channels
            duration = sound.frames / rate
            first = round(window.start(duration) * rate)
            if first:
                sound.seek(first)
            samples = _mono(sound, round(window.max_seconds * rate))
            return Stream(samples, rate, duration, channels, sound.format.lower())
    except (soundfile.LibsndfileError, RuntimeError, ValueError, ZeroDivisionError, OverflowError) as error:
        message = str(getattr(error, "error_string", error))
        raise CannotRead(f"libsndfile: {message}") from None


def _mono(sound: "SoundFile", wanted: int) -> Floats:
    """Up to `wanted` frames, mixed down block by block."""
    block = max(1, BLOCK_VALUES // sound.channels)
    deadline = time.monotonic() + DECODE_SECONDS
    parts: list[Floats] = []
    while wanted > 0:
        data = sound.read(min(block, wanted), dtype="float32", always_2d=True)
        if not len(data):
            break
        parts.append(data[:, 0].copy() if data.shape[1] == 1 else data.mean(axis=1, dtype=np.float32))
        wanted -= len(data)
        if time.monotonic() > deadline:
            raise CannotRead(f"libsndfile: not decoded in {DECODE_SECONDS:g} s")
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
