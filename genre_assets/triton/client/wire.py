"""What the clients share: their options, items to tensors, and what is safe to try again."""

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.settings import Settings
from genre_assets.triton.protocol import AUDIO, LABEL_SET, PROBE, REQUEST_FAILED, TAG, WITH_TIMELINE

Transport = Literal["grpc", "http"]
RELEASES = 3  # so often a request is asked again whose labels the server does not tell
DESCRIPTIONS = 50  # so often it is asked for them meanwhile: while a release comes in, answers may be ahead of it
TIMELINE_SECONDS = 900.0  # least deadline of a request for a timeline: others may have to end before
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


class ClientCore:
    """What a client knows, however it waits: where the server is, how it is asked, and what it said of itself."""

    def __init__(
        self, address: str, transport: Transport, deadline_s: float, batch: int, batch_mb: float, tag: str
    ) -> None:
        self.address = address
        self.transport: Transport = transport
        self.deadline_s = deadline_s
        self.parameters = {TAG: tag} if tag else None  # of every request
        self.batch = batch
        self.batch_bytes = round(batch_mb * 2**20)
        self._known: Known | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, transport: Transport = "grpc", **options: Any) -> Self:
        """Make a client of the configured server.

        Parameters
        ----------
        settings : Settings
            Where the server is.
        transport : {"grpc", "http"}
            How it is asked.
        **options : Any
            More parameters of the client.

        Returns
        -------
        Self
            The client.
        """
        address = settings.triton_grpc if transport == "grpc" else settings.triton_http
        return cls(address, transport=transport, **options)

    def _requests(
        self, items: Iterable[bytes | str], limit: int, *, log: bool, timeline: bool, trace: str
    ) -> "list[Batch]":
        """The items as requests that the server takes; probes (`log=False`) are left out of its log.

        An item whose timeline is wanted travels alone: it takes long.
        """
        found = list(batches(items, 1 if timeline else min(self.batch, limit), self.batch_bytes))
        if trace:
            prefix = span_of(trace)
            found = [replace(batch, request_id=f"{prefix}-{number}") for number, batch in enumerate(found)]
        return [replace(b, request_id=b.request_id if log else PROBE + b.request_id, timeline=timeline) for b in found]

    def _asked(self, batch: "Batch") -> dict[str, Any] | None:
        """The parameters of a request."""
        return {**(self.parameters or {}), WITH_TIMELINE: True} if batch.timeline else self.parameters

    def _deadline(self, batch: "Batch") -> float:
        """Seconds for a request with all its retries."""
        return max(self.deadline_s, TIMELINE_SECONDS) if batch.timeline else self.deadline_s

    def _labels_of(self, answer: Any) -> list[str] | None:
        """The labels of an answer, if they are known: those of another release, which came in meanwhile, are not."""
        said = answer.as_numpy(LABEL_SET)
        known = self._known
        if known is None or (said is not None and said[0, 0].decode() != known.label_set):
            return None
        return known.labels


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
    return status in _TRANSIENT or any(words in said for words in _NOT_READY) or isinstance(error, OSError)


def translated(error: Exception, address: str) -> Exception:
    """The library's error as one of ours."""
    said = f"Triton at {address} did not answer: {error}"
    return TransientFailure(said) if is_transient(error) else PermanentFailure(said)


def described(config: dict[str, Any]) -> Known:
    """Labels, their version and batch limit from the ensemble's configuration."""
    said = {name: value["string_value"] for name, value in config["parameters"].items()}
    return Known(json.loads(said["labels"]), said.get("label_set", ""), int(config["max_batch_size"]))
