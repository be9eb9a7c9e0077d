"""Cutting a clip into segments: a training row, or a vote in serving, each."""

from dataclasses import dataclass

from genre_assets.audio.dsp.filters import Floats

SILENT_PEAK = 1e-4  # -80 dB of full scale: below the dither of a 16-bit recording's fade


@dataclass(frozen=True)
class Segment:
    """A part of a clip. Times are in seconds from the start of the decoded clip."""

    index: int
    start_s: float
    seconds: float
    samples: Floats


def cut(samples: Floats, sample_rate: int, *, segment_seconds: float, max_seconds: float) -> list[Segment]:
    """Consecutive segments without overlap, from the first `max_seconds`.

    A last part counts if it is at least half a segment long; a clip shorter than one segment is one segment. Silent
    segments are left out (their features would say nothing), unless all are.
    """
    samples = samples[: round(max_seconds * sample_rate)]
    length = max(1, round(segment_seconds * sample_rate))
    starts = [start for start in range(0, len(samples), length) if len(samples) - start >= length / 2] or [0]
    segments = []
    for index, start in enumerate(starts):
        part = samples[start : start + length]
        segments.append(Segment(index, start / sample_rate, len(part) / sample_rate, part))
    audible = [segment for segment in segments if is_audible(segment.samples)]
    return audible or segments


def is_audible(samples: Floats) -> bool:
    """Whether any sample is above `SILENT_PEAK`."""
    return bool(len(samples)) and peak(samples) > SILENT_PEAK


def peak(samples: Floats) -> float:
    """The largest absolute value (float32 [n], n above 0); no number if one of the samples is none."""
    return max(float(samples.max()), -float(samples.min()))
