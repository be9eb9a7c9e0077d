"""What the clients share: items to tensors, tensors to predictions, and what is safe to try again."""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.serving.protocol import AUDIO, ERROR, LABEL, MODEL, PROBABILITIES, REQUEST_FAILED, VERSION

Transport = Literal["grpc", "http"]
OUTPUTS = (LABEL, PROBABILITIES, MODEL, VERSION, ERROR)
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# gRPC and HTTP statuses after which the same request may succeed: the server is away, starting, or lost a process.
_TRANSIENT = (
    "UNAVAILABLE",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "CANCELLED",
    "ABORTED",
    "408",
    "429",
    "500",
    "502",
    "503",
    "504",
)
_NOT_READY = ("is not ready", "no available versions", "unloading", "not found")


@dataclass(frozen=True)
class Prediction:
    """The answer to one item. `error` is empty if it succeeded; then `label` and `probabilities` are there."""

    label: str
    probabilities: dict[str, float]
    model: str
    version: int
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "genre": self.label, "probabilities": self.probabilities,
            "model": self.model, "version": self.version, "error": self.error,
        }  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Items that travel in one request. The id stays the same over retries, so that an item is logged once."""

    items: tuple[bytes, ...]
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def batches(items: Iterable[bytes | str], size: int, most_bytes: int) -> Iterator[Batch]:
    """Split items into requests of at most `size` items and, where an item alone is not larger, `most_bytes`."""
    held: list[bytes] = []
    total = 0
    for item in items:
        data = encode_item(item)
        if held and (len(held) == size or total + len(data) > most_bytes):
            yield Batch(tuple(held))
            held, total = [], 0
        held.append(data)
        total += len(data)
    if held:
        yield Batch(tuple(held))


def encode_item(item: bytes | str) -> bytes:
    """Bytes of audio as they are; a string must be an S3 address. Raises `BadInput` for another string."""
    if isinstance(item, str):
        if not item.startswith("s3://"):
            raise BadInput(f"{item!r} is not an S3 address: give the bytes of a file, or s3://bucket/key")
        return item.encode()
    return bytes(item)


def inputs(library: Any, batch: Batch) -> list[Any]:
    """The request's tensor. `library` is `tritonclient.grpc` or `tritonclient.http` (or their aio variants)."""
    tensor = library.InferInput(AUDIO, [len(batch.items), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(batch.items, dtype=object).reshape(-1, 1))
    return [tensor]


def decode(result: Any, labels: Sequence[str]) -> list[Prediction]:
    """The predictions of one answer, in the order of the items."""
    columns = {name: result.as_numpy(name) for name in OUTPUTS}
    predictions = []
    for i in range(len(columns[LABEL])):
        error = columns[ERROR][i, 0].decode()
        probabilities = {} if error else dict(zip(labels, map(float, columns[PROBABILITIES][i]), strict=True))
        label, model = columns[LABEL][i, 0].decode(), columns[MODEL][i, 0].decode()
        predictions.append(Prediction(label, probabilities, model, int(columns[VERSION][i, 0]), error))
    return predictions


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later. Asking again is safe: predictions change nothing."""
    if REQUEST_FAILED in str(error):
        return False
    status = str(getattr(error, "status", lambda: None)() or "").removeprefix("StatusCode.")
    said = str(error)
    return status in _TRANSIENT or any(words in said for words in _NOT_READY) or isinstance(error, OSError)


def translated(error: Exception, address: str) -> Exception:
    """The library's error as one of ours."""
    said = f"Triton at {address} did not answer: {error}"
    return TransientFailure(said) if is_transient(error) else PermanentFailure(said)


def described(config: dict[str, Any]) -> tuple[list[str], int]:
    """Labels and batch limit from the ensemble's configuration."""
    return json.loads(config["parameters"]["labels"]["string_value"]), int(config["max_batch_size"])
