"""What a client gets for a whole file: an answer for each of its segments, and for people the spans of equal ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from genre_assets.text import clock


@dataclass(frozen=True)
class TimelineSegment:
    """The answer to one segment of a file.

    Parameters
    ----------
    start_s : float
        Second of the file at which it begins.
    end_s : float
        Second at which it ends.
    label : str
        The most probable label; empty if there is an `error`.
    probabilities : dict of str to float
        Probability of each label, in the model's order. Empty if there is an `error`.
    error : str
        Why the segment has no answer (`silent`, `too_short`, ...). Empty if it has one.
    """

    start_s: float
    end_s: float
    label: str
    probabilities: dict[str, float]
    error: str = ""


@dataclass(frozen=True)
class Span:
    """Neighbouring segments of one label, or without an answer for one reason.

    Parameters
    ----------
    start_s : float
        Second of the file at which the first begins.
    end_s : float
        Second at which the last ends.
    label : str
        Of them all; empty if there is an `error`.
    sure : float
        Mean probability of the label.
    error : str
        Reason code of segments without an answer.
    """

    start_s: float
    end_s: float
    label: str
    sure: float
    error: str

    def __str__(self) -> str:
        said = f"({self.error})" if self.error else f"{self.label} ({self.sure:.0%})"
        return f"{clock(self.start_s):>7} - {clock(self.end_s):>7}  {said}"


@dataclass(frozen=True)
class Timeline:
    """An answer for each segment of a whole file.

    Parameters
    ----------
    segments : tuple of TimelineSegment
        In order, without gaps, but for less than half a second at the file's end.
    heard_s : float
        Second at which the last one ends.
    of_s : float or None
        Seconds of the whole file; None if it does not tell.
    note : str
        Why the segments end before the file does: it is cut off or damaged, or a limit was reached. Empty if they do not.
    error : str
        Why there is no timeline: a reason code, a colon, and words. Empty if there is one.
    """

    segments: tuple[TimelineSegment, ...] = ()
    heard_s: float = 0.0
    of_s: float | None = None
    note: str = ""
    error: str = ""

    def spans(self) -> list[Span]:
        """Merge equal neighbours.

        Returns
        -------
        list of Span
            From the start of the file to where it was heard.
        """
        found = []
        for (label, error), group in groupby(self.segments, key=lambda s: (s.label, s.error.partition(":")[0])):
            some = list(group)
            sure = 0.0 if error else sum(s.probabilities[label] for s in some) / len(some)
            found.append(Span(some[0].start_s, some[-1].end_s, label, sure, error))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the timeline as the command line prints it.

        Returns
        -------
        dict
            The keys heard_s, of_s, note, error and segments, a list.
        """
        segments = [
            {
                "start_s": s.start_s,
                "end_s": s.end_s,
                "genre": s.label,
                "probabilities": s.probabilities,
                "error": s.error,
            }
            for s in self.segments
        ]
        return {
            "heard_s": self.heard_s,
            "of_s": self.of_s,
            "note": self.note,
            "error": self.error,
            "segments": segments,
        }


def read_timeline(text: bytes, labels: Sequence[str]) -> Timeline:
    """The timeline of an element of the output TIMELINE; `labels` are in the order of its probabilities."""
    said = json.loads(text)
    segments = tuple(
        TimelineSegment(
            s["start_s"],
            s["end_s"],
            s["label"],
            dict(zip(labels, s["probabilities"], strict=not s["error"])),
            s["error"],
        )
        for s in said["segments"]
    )
    return Timeline(segments, said["heard_s"], said["of_s"], said["note"], said["error"])
