"""What travels: items as requests, requests as tensors, errors, and which of them are worth another attempt."""

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from typing import Any, Literal

import numpy as np

from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.triton.protocol import AUDIO, REQUEST_FAILED

Transport = Literal["grpc", "http"]
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
TOO_LARGE = "message larger than max"  # how gRPC words it, with a status that means many things
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_NOT_READY = ("is not ready", "no available versions", "unloading", "not found")


@dataclass(frozen=True)
class Known:
    """What the server said of itself: labels in the order of its probabilities, their version, most items of a request."""

    labels: list[str]
    label_set: str
    limit: int


class Retries:
    """How long a call may still take, and the growing pauses between its attempts."""

    def __init__(self, address: str, deadline_s: float) -> None:
        self.address = address
        self._end = time.monotonic() + deadline_s
        self._pause = FIRST_PAUSE

    def left(self) -> float:
        """Seconds for the next attempt."""
        return max(0.1, self._end - time.monotonic())

    def after(self, error: Exception) -> float:
        """Seconds to pause before the next attempt. Raises the error as one of ours if there must be none."""
        problem = translated(error, self.address)
        if not isinstance(problem, TransientFailure) or time.monotonic() + self._pause >= self._end:
            raise problem from error
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 1.6)
        return pause


@dataclass(frozen=True)
class Batch:
    """Items that travel in one request. The id stays the same over retries, so that an item is logged once."""

    items: tuple[bytes, ...]
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    timeline: bool = False  # whether an answer for each segment is wanted


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


def span_of(traceparent: str) -> str:
    """Trace and span of a W3C `traceparent`, the beginning of ids of requests. Raises `BadInput` for what is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        raise BadInput(f"{traceparent[:80]!r} is no traceparent: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")
    return f"{found[1]}-{found[2]}"


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


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later. Asking again is safe: predictions change nothing."""
    if any(words in str(error) for words in (REQUEST_FAILED, TOO_LARGE)):
        return False
    status = str(getattr(error, "status", lambda: None)() or "").removeprefix("StatusCode.")
    said = str(error)
    return status in _TRANSIENT or any(words in said for words in _NOT_READY) or isinstance(error, broken_connection())


@cache
def broken_connection() -> tuple[type[Exception], ...]:
    """What is raised when a connection cannot be made, breaks or is silent for too long.

    The HTTP libraries have errors of their own for a server that hangs up: they are none of the system's.
    """
    import aiohttp

    return (OSError, HTTPException, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


@cache
def errors() -> tuple[type[Exception], ...]:
    """What the libraries raise in place of an answer."""
    from tritonclient.utils import InferenceServerException

    return (InferenceServerException, *broken_connection())


def translated(error: Exception, address: str) -> Exception:
    """The library's error as one of ours."""
    said = f"Triton at {address} did not answer: {error}"
    return TransientFailure(said) if is_transient(error) else PermanentFailure(said)


def described(config: dict[str, Any]) -> Known:
    """Labels, their version and batch limit from the ensemble's configuration."""
    said = {name: value["string_value"] for name, value in config["parameters"].items()}
    return Known(json.loads(said["labels"]), said.get("label_set", ""), int(config["max_batch_size"]))
