"""Decoding with FFmpeg's libraries through PyAV: mp4/m4a (AAC), webm, wma, and what libsndfile refuses."""

import time
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from genre_assets.audio.filters import Floats
from genre_assets.audio.stream import DECODE_SECONDS, CannotRead, Stream, Window

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

GUESSED = frozenset({"aac"})  # raw frames without an index


def read(file: BinaryIO, window: Window) -> Stream:
    """Decode the window of the first audio stream. Raises `CannotRead` if FFmpeg cannot.

    A stream that breaks off in the middle gives what was there before: the length tells.
    """
    import av
    import av.error

    try:
        # No protocol but this file: a playlist inside cannot make FFmpeg open other files or addresses.
        with av.open(file, mode="r", options={"protocol_whitelist": ""}) as container:
            if not container.streams.audio:
                raise CannotRead("FFmpeg: no audio in it")
            stream = container.streams.audio[0]
            codec: Any = stream.codec_context  # None for a codec that it does not know, whatever PyAV's types say
            rate = int(codec.sample_rate or 0) if codec else 0
            if rate <= 0:
                raise CannotRead("FFmpeg: no decoder, or no sample rate")
            duration = _duration(container, stream)
            start = window.start(duration or 0.0)
            if start:
                container.seek(int(start * av.time_base))
            samples = _mono(container, stream, start, round(window.max_seconds * rate))
            length = duration if duration is not None else len(samples) / rate
            name = container.format.name.split(",")[0]
            return Stream(samples, rate, length, codec.channels, "mp4" if name in {"mov", "mp4"} else name)
    except (av.error.FFmpegError, ValueError, OSError, OverflowError, MemoryError) as error:
        message = getattr(error, "strerror", None) or error
        raise CannotRead(f"FFmpeg: {message}") from None


def _duration(container: "InputContainer", stream: "AudioStream") -> float | None:
    """Seconds that the container states; None if it does not say, or FFmpeg only guesses from the bit rate."""
    if container.format.name in GUESSED:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration is not None else None


def _mono(
    container: "InputContainer",
    stream: "AudioStream",
    start: float,
    wanted: int,
) -> Floats:
    """Up to `wanted` samples from second `start` on, mixed down frame by frame, at the stream's own rate."""
    import av
    import av.error

    resampler = av.AudioResampler(format="fltp")
    deadline = time.monotonic() + DECODE_SECONDS
    parts: list[Floats] = []
    try:
        for decoded in container.decode(stream):
            if decoded.time is not None and decoded.time + decoded.samples / decoded.sample_rate <= start:
                continue
            for frame in resampler.resample(decoded):
                part = frame.to_ndarray().mean(axis=0, dtype=np.float32)
                if not parts and start and decoded.time is not None:
                    part = part[max(0, round((start - decoded.time) * frame.sample_rate)) :]
                parts.append(part[:wanted])
                wanted -= len(parts[-1])
            if wanted <= 0:
                break
            if time.monotonic() > deadline:
                raise CannotRead(f"FFmpeg: not decoded in {DECODE_SECONDS:g} s")
    except av.error.FFmpegError:
        if not parts:
            raise
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
