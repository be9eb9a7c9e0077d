"""What became of each request for answers, and how long it took: counted at the door, which is there when Triton is not.

Only requests to the ensemble count, each with one outcome. Whose fault an outcome is decides what is available: a client
that hangs up or sends nonsense takes nothing from it.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus

import grpc

from genre_assets.triton.door.rules import STATUS, Refused, Why
from genre_assets.triton.protocol import ENSEMBLE

REQUESTS, SECONDS = "genre_door_requests_total", "genre_door_request_seconds"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CANCELLED_STATUS = 499  # Triton's, of a request that its client gave up
_NAMED = b"\x0a" + bytes([len(ENSEMBLE)]) + ENSEMBLE.encode()  # how a ModelInferRequest begins: its field `model_name`


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    CLIENT_ERROR = "client_error"  # it could not be answered as it was sent
    CANCELLED = "cancelled"  # its client gave up
    BUSY = "busy"  # told to try again: as much is under way as may be
    AWAY = "triton_away"
    LATE = "deadline_exceeded"
    FAILED = "failed"


_OF_REFUSAL = {Why.AWAY: Outcome.AWAY, Why.MEMORY: Outcome.BUSY, Why.CONNECTIONS: Outcome.BUSY}
_OF_CODE = {
    grpc.StatusCode.OK: Outcome.ANSWERED,
    grpc.StatusCode.CANCELLED: Outcome.CANCELLED,
    grpc.StatusCode.INVALID_ARGUMENT: Outcome.CLIENT_ERROR,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Outcome.BUSY,
    grpc.StatusCode.UNAVAILABLE: Outcome.AWAY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.LATE,
}


class Seen:
    """One request, until its outcome is known. Without one it is not counted."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.asks = False  # the ensemble for answers

    def refused(self, refusal: Refused) -> None:
        """The door answered it."""
        self.outcome = _OF_REFUSAL.get(refusal.why, Outcome.CLIENT_ERROR)

    def status(self, status: int) -> None:
        """Triton answered it by HTTP. An ensemble that is not there is no fault of the client's."""
        if status < HTTPStatus.BAD_REQUEST:
            self.outcome = Outcome.ANSWERED
        elif status == CANCELLED_STATUS:
            self.outcome = Outcome.CANCELLED
        elif status == STATUS[Why.AWAY]:
            self.outcome = Outcome.AWAY
        elif status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_FOUND:
            self.outcome = Outcome.CLIENT_ERROR
        else:
            self.outcome = Outcome.FAILED

    def code(self, code: grpc.StatusCode) -> None:
        """Triton answered it by gRPC."""
        self.outcome = _OF_CODE.get(code, Outcome.FAILED)


class Requests:
    """The counts of one process, by transport."""

    def __init__(self, transports: tuple[str, ...]) -> None:
        self._counts = Counter({(transport, outcome): 0 for transport in transports for outcome in Outcome})
        self._buckets = {transport: [0] * (len(BUCKETS) + 1) for transport in transports}
        self._seconds = dict.fromkeys(transports, 0.0)

    @contextmanager
    def one(self, transport: str) -> Iterator[Seen]:
        """A request, from its first byte to the last of its answer. The times of those that were answered are kept."""
        began, seen = time.perf_counter(), Seen()
        try:
            yield seen
        except asyncio.CancelledError:
            seen.outcome = Outcome.CANCELLED
            raise
        finally:
            if seen.asks and seen.outcome is not None:
                self._counts[transport, seen.outcome] += 1
                if seen.outcome is Outcome.ANSWERED:
                    taken = time.perf_counter() - began
                    self._buckets[transport][bisect_left(BUCKETS, taken)] += 1
                    self._seconds[transport] += taken

    def lines(self) -> Iterator[str]:
        """As Prometheus reads them."""
        yield f"# HELP {REQUESTS} Requests to the ensemble, by what became of them\n# TYPE {REQUESTS} counter\n"
        for (transport, outcome), count in self._counts.items():
            yield f'{REQUESTS}{{transport="{transport}",outcome="{outcome}"}} {count}\n'
        yield f"# HELP {SECONDS} Time from a request's arrival to its whole answer, of those that were answered\n"
        yield f"# TYPE {SECONDS} histogram\n"
        for transport, buckets in self._buckets.items():
            below = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
                below += count
                yield f'{SECONDS}_bucket{{transport="{transport}",le="{bound}"}} {below}\n'
            yield f'{SECONDS}_sum{{transport="{transport}"}} {self._seconds[transport]:.6f}\n'
            yield f'{SECONDS}_count{{transport="{transport}"}} {below}\n'


def is_for_ensemble(path_or_message: str | bytes) -> bool:
    """Whether the model of an HTTP path, or a whole gRPC message, names the ensemble."""
    if isinstance(path_or_message, bytes):
        return path_or_message.startswith(_NAMED)
    return path_or_message.split("/")[3:4] == [ENSEMBLE]
