"""All segments of a file, one after the other: memory does not depend on how long the file is."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from genre_assets.audio.decoding import sandbox, wav
from genre_assets.audio.decoding.containers import Kind, what_is_missing
from genre_assets.audio.decoding.decode import TRUNCATION_SECONDS, opened, refusing
from genre_assets.audio.decoding.pcm_headers import CompressedWav
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.segments import Segment
from genre_assets.audio.decoding.stream import SAMPLE_RATES, Stream, Window

TRUNCATION_SHARE = 0.005  # containers round their lengths


class WholeFile:
    """One pass over a file. What the attributes say is of what `segments` has given so far.

    Parameters
    ----------
    source : bytes or Path
        The file, or its content.
    segment_seconds : float
        Seconds of a segment.
    """

    def __init__(self, source: bytes | Path, segment_seconds: float) -> None:
        self._source = source
        self._window = Window(segment_seconds, "start")
        self.sample_rate = 0  # hertz
        self.heard_s = 0.0
        self.of_s: float | None = None  # seconds of the whole; None if the file does not tell
        self.ended = ""  # why it ended before its end, in words; empty if it did not

    def segments(self) -> Iterator[Segment]:
        """Consecutive segments, the last one as short as it comes. A file that breaks off gives what was before that.

        Raises `AudioError` for a file of which nothing can be read.
        """
        size = len(self._source) if isinstance(self._source, bytes) else self._source.stat().st_size
        if size == 0:
            raise AudioError(Reason.EMPTY, "the file has no bytes")
        with opened(self._source) as file:
            missing = what_is_missing(file, size)
            try:
                with refusing(file, size) as kind:
                    yield from self._each(self._blocks(kind, file, size))
            except AudioError as error:
                if not self.heard_s:
                    raise
                self.ended = error.detail
        if not self.heard_s:
            raise AudioError(Reason.EMPTY, "no sample in it")
        self.ended = self.ended or self._ended(missing)

    def _blocks(self, kind: Kind, file: BinaryIO, size: int) -> Iterator[Stream]:
        if kind == "samples":
            with suppress(CompressedWav):
                yield from wav.blocks(file, self._window, size)
                return
        yield from sandbox.blocks(self._source, self._window.max_seconds)

    def _each(self, blocks: Iterator[Stream]) -> Iterator[Segment]:
        for index, block in enumerate(blocks):
            rate = block.sample_rate
            if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
                raise AudioError(Reason.UNSUPPORTED, f"sample rate of {rate} Hz")
            self.sample_rate = rate
            self.of_s = block.duration_s if block.is_length_known else None
            if not len(block.samples):
                return
            start, seconds = self.heard_s, len(block.samples) / rate
            self.heard_s += seconds
            yield Segment(index, start, seconds, block.samples)

    def _ended(self, missing: str | None) -> str:
        if missing:
            return f"cut off: {missing} is not there"
        lost = (self.of_s or 0.0) - self.heard_s
        if lost > max(TRUNCATION_SECONDS, TRUNCATION_SHARE * self.heard_s):
            return f"cut off: {self.heard_s:.1f} of {self.of_s:.1f} s are there"
        return ""
