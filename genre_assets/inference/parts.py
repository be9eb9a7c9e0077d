"""All segments of a file -> their features: the pre-processor's side of a timeline.

Memory does not depend on how long the file is, but for its own bytes and a row of features for each segment.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genre_assets.audio.decoding.decode import TRUNCATION_SECONDS, check_values
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.segments import Segment, is_audible
from genre_assets.audio.decoding.whole import WholeFile
from genre_assets.audio.extract import Limits, extract
from genre_assets.errors import GenreError
from genre_assets.inference.timeline import Parts
from genre_assets.text import clock

if TYPE_CHECKING:
    from genre_assets.inference.answers import Floats

log = logging.getLogger(__name__)


class Cancelled(GenreError):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class PartsMaker:
    """Makes the parts of a file, whose segments are as long as `limits` say.

    A file of more than `most_seconds` has none; after `work_seconds` they end where they have come to.
    """

    limits: Limits
    feature_set: str
    most_seconds: float
    work_seconds: float

    def make(self, data: bytes, cancelled: Callable[[], bool] = lambda: False) -> Parts:
        """The parts of a file; never raises for a bad one. Raises `Cancelled`, as `cancelled` is asked at each segment."""
        try:
            return self._made(WholeFile(data, self.limits.segment_seconds), cancelled)
        except AudioError as problem:
            return Parts(error=_said(problem))
        except Cancelled:
            raise
        except Exception as problem:  # the item's own answer, and the other items, must have theirs
            log.exception("an item broke its timeline")
            return Parts(error=f"internal: the timeline failed: {type(problem).__name__}")

    def _made(self, whole: WholeFile, cancelled: Callable[[], bool]) -> Parts:
        end = time.monotonic() + self.work_seconds
        segments: list[tuple[float, float, str]] = []
        rows: list[Floats] = []
        stopped = ""
        for segment in whole.segments():
            if (whole.of_s or 0.0) > self.most_seconds:
                return Parts(of_s=whole.of_s, error=f"too_long: the file has {clock(whole.of_s or 0)}; {self._longest}")
            if stopped := self._stopped(segment, end):
                break
            if cancelled():
                raise Cancelled("the request was cancelled")
            row = self._row(segment, whole.sample_rate)
            if not isinstance(row, str):
                rows.append(row)
            elif segment.index and segment.seconds < TRUNCATION_SECONDS:
                continue  # what encoders fill up with
            error = row if isinstance(row, str) else ""
            segments.append((round(segment.start_s, 3), round(segment.start_s + segment.seconds, 3), error))
        stacked = np.stack(rows) if rows else np.empty((0, 0), np.float32)
        of_s = None if whole.of_s is None else round(whole.of_s, 3)
        return Parts(segments[-1][1], of_s, stopped or whole.ended, "", segments, stacked)

    @property
    def _longest(self) -> str:
        return f"a timeline is made of at most {self.most_seconds / 3600:g} h (GENRE_SERVING_TIMELINE_HOURS)"

    def _stopped(self, segment: Segment, end: float) -> str:
        """Why no more segments are looked at, if so."""
        if segment.start_s >= self.most_seconds:
            return self._longest
        if segment.index and time.monotonic() >= end:
            return f"stopped after {self.work_seconds:g} s of work (GENRE_SERVING_TIMELINE_SECONDS)"
        return ""

    def _row(self, segment: Segment, sample_rate: int) -> "Floats | str":
        """The features of a segment, or why it has none."""
        half = self.limits.segment_seconds / 2
        least = half if segment.index else min(half, self.limits.min_seconds)
        if segment.seconds < least:
            return f"{Reason.TOO_SHORT}: {segment.seconds:.2f} s, at least {least:g} s are needed"
        try:
            check_values(segment.samples)
            if not is_audible(segment.samples):
                return str(Reason.SILENT)
            return extract(segment.samples, sample_rate, feature_set=self.feature_set)
        except AudioError as problem:
            return _said(problem)


def _said(problem: AudioError) -> str:
    return f"{problem.reason}: {problem.detail}"
