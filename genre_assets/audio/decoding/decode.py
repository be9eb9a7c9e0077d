"""Bytes or a file to mono samples, and the verdict on what cannot be used.

The content decides, never the file's name. Plain samples (wav, aiff, au) are read here, by our own reader; FLAC, Vorbis,
Opus, MP3 and AAC in a sandboxed process (`sandbox`), by libsndfile or FFmpeg's libraries; nothing else is decoded. Only
the wanted seconds are, in blocks mixed down at once, so the cost in time and memory does not depend on the file's
length. Nothing is written to disk.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from genre_assets.audio.decoding import sandbox, wav
from genre_assets.audio.decoding.containers import (
    Kind,
    kind_of,
    name_of_other_content,
    name_of_other_sound,
    what_is_missing,
)
from genre_assets.audio.decoding.pcm_headers import CompressedWav
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.segments import SILENT_PEAK, peak
from genre_assets.audio.decoding.stream import (
    CODECS,
    SAMPLE_RATES,
    CannotRead,
    Floats,
    InMemory,
    OtherCodec,
    Stream,
    Window,
)

Offset = Literal["start", "middle", "random"]
LOUDEST = 1e4  # +80 dB of full scale: beyond it a float file holds garbage
TRUNCATION_SECONDS = 0.5  # encoders pad and cut by less
TRUNCATION_SHARE = 0.02


@dataclass(frozen=True)
class Clip:
    """Decoded sound: mono float32 samples in [-1, 1] or so, and facts on the whole file."""

    samples: Floats
    sample_rate: int
    duration_s: float
    channels: int
    format: str
    start_s: float = 0.0  # where in the file the samples begin
    is_length_known: bool = True  # else `duration_s` is that of the samples


def decode(
    source: bytes | Path,
    *,
    max_seconds: float = 30.0,
    offset: Offset = "start",
    min_seconds: float = 1.0,
    max_file_mb: float = 200.0,
) -> Clip:
    """Decode up to `max_seconds` and mix down to mono, at the file's own sample rate.

    `offset` says where from: the start, the middle, or a place that the file's content determines ("random").
    Raises `AudioError` with the reason if the file cannot be used, `FileNotFoundError` for a missing file.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise AudioError(Reason.EMPTY, "the file has no bytes")
    if size > max_file_mb * 1e6:
        raise AudioError(Reason.TOO_LARGE, f"{size / 1e6:.1f} MB, the limit is {max_file_mb:g} MB")
    with opened(source) as file:
        window = Window(max_seconds, offset, _content_seed(file) if offset == "random" else 0.0)
        stream = _read(source, file, window, size)
        missing = what_is_missing(file, size)
    _check(stream, window, missing, min_seconds)
    return Clip(
        stream.samples, stream.sample_rate, stream.duration_s, stream.channels, stream.format,
        window.start(stream.duration_s), stream.is_length_known,
    )  # fmt: skip


def opened(source: bytes | Path) -> BinaryIO:
    """The content as a file."""
    return InMemory(source) if isinstance(source, bytes) else source.open("rb")


def _content_seed(file: BinaryIO) -> float:
    """A number in [0, 1) that depends on the content alone."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return int.from_bytes(digest.digest()[:6], "big") / 2**48


def _read(source: bytes | Path, file: BinaryIO, window: Window, size: int) -> Stream:
    """What the decoder for this kind of file makes of it. Raises `AudioError` if none can read it."""
    with refusing(file, size) as kind:
        if kind == "samples":
            with suppress(CompressedWav):
                return wav.read(file, window, size)
        return sandbox.read(source, window)


@contextmanager
def refusing(file: BinaryIO, size: int) -> Iterator[Kind]:
    """What kind of file it is, for a block in which decoders read it: their errors are `AudioError` with a reason.

    Raises `AudioError` before the block for a kind that is never decoded.
    """
    kind, _ = kind_of(file)
    file.seek(0)
    head = file.read(512)
    if kind == "unknown":
        other = name_of_other_content(head)
        if other:
            raise AudioError(Reason.UNSUPPORTED, f"it is {other}, not audio")
        other = name_of_other_sound(head)
        if other:
            raise AudioError(Reason.UNSUPPORTED, f"it is {other}, which is not read; what is: {CODECS}")
    try:
        yield kind
    except OtherCodec as codec:
        raise AudioError(Reason.UNSUPPORTED, f"its codec is {codec}, which is not read; what is: {CODECS}") from None
    except CannotRead as problem:
        missing = what_is_missing(file, size)
        if missing:
            raise AudioError(Reason.TRUNCATED, f"cut off: {missing} is not there") from None
        raise AudioError(Reason.UNDECODABLE, str(problem)) from None


def _check(stream: Stream, window: Window, missing: str | None, min_seconds: float) -> None:
    samples, rate = stream.samples, stream.sample_rate
    if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
        raise AudioError(Reason.UNSUPPORTED, f"sample rate of {rate} Hz")
    seconds = len(samples) / rate
    expected = window.length(stream.duration_s)
    if expected - seconds > max(TRUNCATION_SECONDS, TRUNCATION_SHARE * expected):
        raise AudioError(Reason.TRUNCATED, f"cut off: {seconds:.1f} of {expected:.1f} s are there")
    if missing:
        raise AudioError(Reason.TRUNCATED, f"cut off: {missing} is not there")
    if not len(samples):
        raise AudioError(Reason.EMPTY, "no sample in it")
    if check_values(samples) <= SILENT_PEAK:
        raise AudioError(Reason.SILENT)
    if seconds < min_seconds:
        raise AudioError(Reason.TOO_SHORT, f"{seconds:.2f} s, at least {min_seconds:g} s are needed")


def check_values(samples: Floats) -> float:
    """The largest absolute value of samples (float32 [n], n above 0).

    Raises `AudioError` if one of them is no number, or louder than any sound.
    """
    loudest = peak(samples)  # what is no number shows in it
    if not math.isfinite(loudest):
        raise AudioError(Reason.NOT_FINITE, "samples that are not numbers")
    if loudest > LOUDEST:
        raise AudioError(Reason.NOT_FINITE, f"samples beyond {LOUDEST:g} times full scale")
    return loudest
