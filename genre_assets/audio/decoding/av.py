"""Decoding with FFmpeg's libraries through PyAV: mp4/m4a, webm, raw AAC, and what libsndfile refuses. In the sandbox alone."""

import time
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
            duration = _duration(container, stream)
            start = window.start(duration or 0.0)
            if start:
                container.seek(int(start * av.time_base))
            room = room_for(window, rate)
            samples = np.empty(room, np.float32) if out is None else out[:room]
            samples = samples[: _mono(container, stream, start, samples)]
            length = duration if duration is not None else len(samples) / rate
            name = container.format.name.split(",")[0]
            known = duration is not None or len(samples) < room
            return Stream(samples, rate, length, codec.channels, "mp4" if name in {"mov", "mp4"} else name, known)
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


def _mono(container: "InputContainer", stream: "AudioStream", start: float, samples: Floats) -> int:
    """Fill `samples` from second `start` on, mixed down frame by frame, at the stream's own rate; how many there were."""
    import av
    import av.error

    resampler = av.AudioResampler(format="fltp")
    deadline = time.monotonic() + DECODE_SECONDS
    done = 0
    try:
        for decoded in container.decode(stream):
            if decoded.time is not None and decoded.time + decoded.samples / decoded.sample_rate <= start:
                continue
            for frame in resampler.resample(decoded):
                part = frame.to_ndarray().mean(axis=0, dtype=np.float32)
                if not done and start and decoded.time is not None:
                    part = part[max(0, round((start - decoded.time) * frame.sample_rate)) :]
                part = part[: len(samples) - done]
                samples[done : done + len(part)] = part
                done += len(part)
            if done >= len(samples):
                break
            if time.monotonic() > deadline:
                raise CannotRead(f"FFmpeg: not decoded in {DECODE_SECONDS:g} s")
    except av.error.FFmpegError:
        if not done:
            raise
    return done
