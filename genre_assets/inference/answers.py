"""What the Triton models do, as plain functions: this module is the predictor's and the answers' side.

Everything that runs inside Triton is importable without Triton, so that a test or a notebook can run it. Needs only
numpy and onnxruntime. `items.py` and `features.py` are the pre-processor's side.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import PermanentFailure
from genre_assets.labels import version_of
from genre_assets.models.onnx.portable import load_model, vote
from genre_assets.triton.messages import Message
from genre_assets.triton.protocol import LONGEST_REQUEST_ID, row_id, short_id

if TYPE_CHECKING:
    from genre_assets.inference.request_log import Row

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Facts(Message):
    """What is known of an item besides its features; travels through the ensemble as JSON. Times in milliseconds."""

    fingerprint: str = ""
    code: str = ""  # reason code of the error; empty if fine
    error: str = ""
    decode_ms: float = 0.0
    extract_ms: float = 0.0
    fetch_ms: float = 0.0
    address: str = ""  # of an item that was named by its address
    format: str = ""  # container and codec
    sample_rate: int = 0
    channels: int = 0
    duration_s: float = 0.0  # of the whole file; 0 if nothing tells
    tag: str = ""  # the client's own word for the request
    heard_from_s: float = 0.0  # where in the file the part begins that the answer is of
    heard_s: float = 0.0  # its seconds; 0 if there is no answer
    pending: str = ""  # name of the file that holds its bytes, if they may be kept (`capture`)
    not_kept: str = ""  # why there is none although they may

    @property
    def heard(self) -> str:
        """What clients are told of the part that was heard, as JSON; empty if none was."""
        if not self.heard_s:
            return ""
        whole = round(self.duration_s, 3) if self.duration_s else None
        return json.dumps({"from_s": round(self.heard_from_s, 3), "seconds": round(self.heard_s, 3), "of_s": whole})


@dataclass(frozen=True)
class ServedBy(Message):
    """Who answered a request: the predictor's step, not the item's."""

    model: str
    version: int
    route: str
    predict_ms: float
    labels: tuple[str, ...] = ()
    """Of the scores: while another release comes in, the next step may be of another label set."""

    @property
    def label_set(self) -> str:
        """The version of the label set."""
        return version_of(self.labels)


@dataclass(frozen=True)
class Answer:
    """What the client gets for one item, and its log row needs."""

    label: str
    confidence: float
    probabilities: list[float]
    code: str
    error: str

    @property
    def message(self) -> str:
        """`code: what was wrong`; empty if fine."""
        return f"{self.code}: {self.error}" if self.code else ""


def refused_id(request_id: str) -> Facts | None:
    """The facts of every item of a request whose id is too long to be logged; None for another."""
    if len(request_id) <= LONGEST_REQUEST_ID:
        return None
    said = f"the request id has {len(request_id)} characters; at most {LONGEST_REQUEST_ID} are taken"
    return Facts(code="bad_request_id", error=said)


def check_numpy() -> None:
    """Raise `PermanentFailure` under numpy 2, with which this server's backend passes BYTES tensors as empty."""
    if int(np.__version__.split(".")[0]) >= 2:
        raise PermanentFailure(f"the execution environment has numpy {np.__version__}; Triton 24.10 needs numpy<2")


class Predictor:
    """One exported model version."""

    def __init__(self, folder: Path) -> None:
        self._model = load_model(folder)
        self.manifest = self._model.manifest

    def scores(self, features: Floats) -> Floats:
        """Probabilities of each item: the mean over its segments.

        Parameters
        ----------
        features : float32 [n, segments, columns]; rows of NaN stand for segments that an item does not have.

        Returns
        -------
        float32 [n, n_classes]; a row of NaN for an item without any segment.
        """
        items, segments, columns = features.shape
        flat = self._model.probabilities(features.reshape(items * segments, columns))
        mask = np.asarray(np.isfinite(features).all(axis=2), dtype=np.bool_)
        return vote(flat.reshape(items, segments, -1), mask)


def answer(facts: Facts, scores: Floats, labels: tuple[str, ...]) -> Answer:
    """The answer to one item from its facts and its scores (float32 [genres])."""
    if facts.code:
        return Answer("", 0.0, [], facts.code, facts.error)
    if not np.isfinite(scores).all():
        return Answer("", 0.0, [], "no_answer", "the model gave no probabilities for this item's features")
    best = int(scores.argmax())
    return Answer(labels[best], float(scores[best]), [float(p) for p in scores], "", "")


def log_row(
    request_id: str,
    item: int,
    facts: Facts,
    features: Floats,
    served: ServedBy,
    given: Answer,
    feature_set: tuple[str, str],
) -> "Row":
    """The item's row of `served_requests`; `features` is float32 [segments, columns], `feature_set` (name, version).

    Of an item's segments the middle one is kept, so that the logged rows are distributed as the training rows are.
    """
    from genre_assets.inference.request_log import Row

    usable = features[np.isfinite(features).all(axis=1)]
    return Row(
        id=str(row_id(short_id(request_id), item)),
        ts=datetime.now(UTC).timestamp(),
        request_id=short_id(request_id),
        item=item,
        fingerprint=facts.fingerprint or None,
        model=served.model,
        version=served.version,
        route=served.route,
        label=given.label or None,
        confidence=given.confidence if not given.code else None,
        probabilities=given.probabilities or None,
        features=[float(v) for v in usable[len(usable) // 2]] if len(usable) else None,
        feature_set=feature_set[0],
        feature_set_version=feature_set[1],
        error_code=given.code or None,
        error=given.error or None,
        decode_ms=facts.decode_ms,
        extract_ms=facts.extract_ms,
        predict_ms=served.predict_ms,
        address=facts.address or None,
        format=facts.format or None,
        sample_rate=facts.sample_rate or None,
        channels=facts.channels or None,
        duration_s=facts.duration_s or None,
        label_set=served.label_set,
        tag=facts.tag or None,
    )
