"""A timeline between the steps of the ensemble, and as clients get it: the predictor's side.

The pre-processor makes `Parts` of a file, the predictor a timeline of them. Both are bytes of one tensor element for each
item, empty where none was asked for, so that all requests have the same shapes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from genre_assets.inference.answers import Floats, Predictor

ROWS = 256  # that are scored at once


@dataclass(frozen=True)
class Parts:
    """A file's segments with their features.

    `segments` are (start, end, error): seconds in the file, and `code: what was wrong` or nothing. `rows` is float32 [segments
    without an error, columns]. `note` says why the segments end before the file does, `error` why there are none.
    """

    heard_s: float = 0.0
    of_s: float | None = None
    note: str = ""
    error: str = ""
    segments: Sequence[tuple[float, float, str]] = ()
    rows: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def encode(self) -> bytes:
        """A line of JSON, and the rows as they lie in memory."""
        said = [self.heard_s, self.of_s, self.note, self.error, list(self.segments), self.rows.shape[1]]
        return json.dumps(said).encode() + b"\n" + np.ascontiguousarray(self.rows, "<f4").tobytes()

    @classmethod
    def decode(cls, data: bytes) -> "Parts":
        """From bytes. Raises `ValueError` for what is none."""
        line, _, rest = data.partition(b"\n")
        heard_s, of_s, note, error, segments, columns = json.loads(line)
        rows = np.frombuffer(rest, "<f4").reshape(-1, columns) if columns else np.empty((0, 0), np.float32)
        if len(rows) != sum(not why for *_, why in segments):
            raise ValueError("not as many rows as segments")
        return cls(heard_s, of_s, note, error, segments, rows)


def timeline(parts: bytes, predictor: Predictor) -> bytes:
    """What clients get of an item's parts, as JSON; empty if no timeline was asked for. Raises `ValueError`; see `Parts`."""
    if not parts:
        return b""
    known = Parts.decode(parts)
    scores = iter(_scores(known.rows, predictor))
    segments = [_segment(start, end, error, scores, predictor) for start, end, error in known.segments]
    return json.dumps(
        {"heard_s": known.heard_s, "of_s": known.of_s, "note": known.note, "error": known.error, "segments": segments}
    ).encode()


def _scores(rows: Floats, predictor: Predictor) -> list[list[float]]:
    """Probabilities of each row, [rows, labels]; memory does not depend on how many there are."""
    found = []
    for first in range(0, len(rows), ROWS):
        block = predictor.scores(rows[first : first + ROWS, None, :])
        found += [[round(float(p), 6) for p in row] for row in block]
    return found


def _segment(
    start: float, end: float, error: str, scores: Iterator[list[float]], predictor: Predictor
) -> dict[str, object]:
    probabilities: list[float] = [] if error else next(scores)
    if probabilities and not np.isfinite(probabilities).all():
        probabilities, error = [], "no_answer: the model gave no probabilities for this segment's features"
    label = predictor.manifest.labels[int(np.argmax(probabilities))] if probabilities else ""
    return {"start_s": start, "end_s": end, "label": label, "probabilities": probabilities, "error": error}
