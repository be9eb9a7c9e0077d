"""Decoding with FFmpeg's libraries through PyAV: mp4/m4a, webm, raw AAC, and what libsndfile refuses. In the sandbox alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from genre_assets.audio.decoding.stream import DECODE_SECONDS, CannotRead, Floats, OtherCodec, Stream, Window, room_for

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

GUESSED = frozenset({"aac"})  # raw frames without an index
# No protocol but this file: a playlist inside cannot make FFmpeg open other files or addresses. And of its several hundred
# demuxers and decoders, those of the list alone (the codecs by the names of their decoders).
OPTIONS = {
    "protocol_whitelist": "",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,flac,mp3,aac,wav",
    "codec_whitelist": "mp3float,mp3,aac,flac,vorbis,opus,libopus,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be",
}
DECODERS = frozenset(OPTIONS["codec_whitelist"].split(","))


def read(file: BinaryIO, window: Window, out: Floats | None = None) -> Stream:
    """Decode the window of the first audio stream, into `out` if it is given.

    Raises `CannotRead` if FFmpeg cannot, `OtherCodec` for a codec that is not on the list, before a packet of it is
    decoded. A stream that breaks off in the middle gives what was there before: the length tells.
    """
    with _opened(file) as sound:
        start = window.start(sound.duration or 0.0)
        if start:
            sound.seek(start)
        room = room_for(window, sound.rate)
        samples = np.empty(room, np.float32) if out is None else out[:room]
        samples = samples[: _fill(sound.frames(start), samples)]
        return sound.stream(samples, ended=len(samples) < room)


def blocks(file: BinaryIO, window: Window, out: Floats) -> Iterator[Stream]:
    """All of it, in blocks of the window's length, each in `out` in place of the one before. Raises as `read`."""
    with _opened(file) as sound:
        samples = out[: room_for(window, sound.rate)]
        frames = sound.frames(0.0)
        while True:
            done = _fill(frames, samples)
            yield sound.stream(samples[:done], ended=False)
            if not done or done < len(samples):
                return


def tags(file: BinaryIO) -> dict[str, str]:
    """Tags of the file and of its first audio stream, by name in small letters. Raises `CannotRead`."""
    import av
    import av.error

    try:
        with av.open(file, mode="r", options=OPTIONS, metadata_errors="replace") as container:
            said = [stream.metadata for stream in container.streams.audio[:1]] + [container.metadata]
            return {name.lower(): value for some in said for name, value in some.items()}
    except (av.error.FFmpegError, ValueError, OSError, OverflowError, MemoryError) as error:
        raise CannotRead(f"FFmpeg: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class _Sound:
    """The first audio stream of an open file. `duration` in seconds, None if nothing tells."""

    container: "InputContainer"
    source: "AudioStream"
    codec: Any
    rate: int
    duration: float | None

    def seek(self, start: float) -> None:
        """Go on from that second, or shortly before."""
        import av

        self.container.seek(int(start * av.time_base))

    def frames(self, start: float) -> "_Frames":
        """Samples from second `start` on, mixed down, as they come."""
        return _Frames(_mono(self.container, self.source, start))

    def stream(self, samples: Floats, *, ended: bool) -> Stream:
        """The samples with the file's facts; `ended` if they are the last ones."""
        length = self.duration if self.duration is not None else len(samples) / self.rate
        name = self.container.format.name.split(",")[0]
        known = self.duration is not None or ended
        return Stream(samples, self.rate, length, self.codec.channels, "mp4" if name in {"mov", "mp4"} else name, known)


@contextmanager
def _opened(file: BinaryIO) -> Iterator[_Sound]:
    """The file as FFmpeg reads it; its errors, also those of the block, are ours."""
    import av
    import av.error

    try:
        with av.open(file, mode="r", options=OPTIONS) as container:
            if not container.streams.audio:
                raise CannotRead("FFmpeg: no audio in it")
            stream = container.streams.audio[0]
            codec: Any = stream.codec_context  # None for a codec that it does not know, whatever PyAV's types say
            if codec is not None and codec.name not in DECODERS:
                raise OtherCodec(codec.codec.canonical_name)
            rate = int(codec.sample_rate or 0) if codec else 0
            if rate <= 0:
                raise CannotRead("FFmpeg: no decoder, or no sample rate")
            yield _Sound(container, stream, codec, rate, _duration(container, stream))
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


def _mono(container: "InputContainer", stream: "AudioStream", start: float) -> Iterator[Floats]:
    """The samples from second `start` on, mixed down frame by frame, at the stream's own rate."""
    import av

    resampler = av.AudioResampler(format="fltp")
    first = True
    for decoded in container.decode(stream):
        if decoded.time is not None and decoded.time + decoded.samples / decoded.sample_rate <= start:
            continue
        for frame in resampler.resample(decoded):
            part = frame.to_ndarray().mean(axis=0, dtype=np.float32)
            if first and start and decoded.time is not None:
                part = part[max(0, round((start - decoded.time) * frame.sample_rate)) :]
            first = first and not len(part)
            yield part


class _Frames:
    """Samples as they come, and what of a frame is left over for the next block."""

    def __init__(self, parts: Iterator[Floats]) -> None:
        self.parts = parts
        self.left: Floats = np.empty(0, np.float32)


def _fill(frames: _Frames, samples: Floats) -> int:
    """Fill `samples` with what comes next; how many there were. A break counts as the end, unless nothing was before it."""
    import av.error

    deadline = time.monotonic() + DECODE_SECONDS
    done = 0
    try:
        while done < len(samples):
            part = frames.left if len(frames.left) else next(frames.parts, None)
            if part is None:
                break
            taken = part[: len(samples) - done]
            samples[done : done + len(taken)] = taken
            done += len(taken)
            frames.left = part[len(taken) :]
            if time.monotonic() > deadline:
                raise CannotRead(f"FFmpeg: not decoded in {DECODE_SECONDS:g} s")
    except av.error.FFmpegError:
        if not done:
            raise
    return done
