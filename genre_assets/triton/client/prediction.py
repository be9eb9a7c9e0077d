"""What a client gets for an item, made of the answer's tensors."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from genre_assets.errors import PermanentFailure
from genre_assets.text import clock
from genre_assets.triton.client.timeline import Timeline, read_timeline
from genre_assets.triton.protocol import ERROR, HEARD, LABEL, MODEL, PROBABILITIES, TIMELINE, VERSION

OUTPUTS = (LABEL, PROBABILITIES, MODEL, VERSION, ERROR)
ROUNDED_S = 0.5  # encoders add and leave out as much


@dataclass(frozen=True)
class Heard:
    """The part of a file that an answer is of.

    Parameters
    ----------
    from_s : float
        Second of the file at which it begins.
    seconds : float
        How long it is.
    of_s : float or None
        Seconds of the whole file; None if the file does not tell.
    """

    from_s: float
    seconds: float
    of_s: float | None

    @property
    def is_all(self) -> bool:
        """Whether that is the whole file, as far as is known.

        Returns
        -------
        bool
            False too if the file does not tell how long it is.
        """
        return self.of_s is not None and self.of_s - self.seconds <= ROUNDED_S

    def __str__(self) -> str:
        whole = "unknown length" if self.of_s is None else clock(self.of_s)
        begins = f" from {clock(self.from_s)}" if self.from_s else ""
        return f"heard {self.seconds:.0f} s{begins} of {whole}"


@dataclass(frozen=True)
class Prediction:
    """The answer to one item.

    Parameters
    ----------
    label : str
        The most probable label; empty if there is an `error`.
    probabilities : dict of str to float
        Probability of each label, in the model's order; they sum to 1. Empty if there is an `error`.
    model : str
        Family of the model that answered.
    version : int
        Its number in the registry.
    error : str
        Why the item could not be used: a reason code, a colon, and words. Empty if it could.
    heard : Heard or None
        The part of the file that the answer is of. None if there is an `error`, or the server's release is of before it
        told that.
    timeline : Timeline or None
        An answer for each segment of the whole file, if it was asked for. The file may have one though there is an `error`
        (of a start that is silent), and the other way round (of a file that is too long for one).
    request_id : str
        Id of the request that it travelled in: with `item`, the row of the prediction log. Empty if none was sent.
    item : int
        Its place in that request, from 0.
    """

    label: str
    probabilities: dict[str, float]
    model: str
    version: int
    error: str = ""
    heard: Heard | None = None
    timeline: Timeline | None = None
    request_id: str = ""
    item: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as the command line prints it.

        Returns
        -------
        dict
            The keys genre, probabilities, model, version, heard, error, request_id and item; and timeline, if it was asked
            for.
        """
        said = {
            "genre": self.label, "probabilities": self.probabilities, "model": self.model, "version": self.version,
            "heard": asdict(self.heard) if self.heard else None, "error": self.error,
            "request_id": self.request_id, "item": self.item,
        }  # fmt: skip
        return said if self.timeline is None else {**said, "timeline": self.timeline.as_dict()}


def decode(result: Any, labels: Sequence[str], request_id: str = "", *, timeline: bool = False) -> list[Prediction]:
    """The predictions of one answer, in the order of the items; `timeline` says whether timelines were asked for.

    Raises `PermanentFailure` if the server makes none.
    """
    timelines = _texts(result, TIMELINE)
    if timeline and timelines is None:
        raise PermanentFailure(
            "the release that is served makes no timelines: it is of before they came; materialise triton_repo and live_ensemble"
        )
    columns = {name: result.as_numpy(name) for name in OUTPUTS}
    heard = _texts(result, HEARD)
    predictions = []
    for i in range(len(columns[LABEL])):
        error = columns[ERROR][i, 0].decode()
        probabilities = {} if error else dict(zip(labels, map(float, columns[PROBABILITIES][i]), strict=True))
        label, model = columns[LABEL][i, 0].decode(), columns[MODEL][i, 0].decode()
        part = Heard(**json.loads(heard[i])) if heard is not None and heard[i] else None
        line = _timeline(timelines[i], labels, error) if timeline and timelines is not None else None
        version = int(columns[VERSION][i, 0])
        predictions.append(Prediction(label, probabilities, model, version, error, part, line, request_id, i))
    return predictions


def _timeline(text: bytes, labels: Sequence[str], error: str) -> Timeline:
    return read_timeline(text, labels) if text else Timeline(error=error)


def _texts(result: Any, name: str) -> list[bytes] | None:
    """An output of text; None if the server's release does not have it."""
    column = result.as_numpy(name)
    return None if column is None else list(column[:, 0])
