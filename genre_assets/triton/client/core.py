"""What both clients do, without input or output: which requests are made, in which order, and what comes of their answers.

Each is a plan: a generator that yields what is to be done (`Describe`, `Infer`, `Pause`), is sent what came of it, and
returns the predictions. A client does the steps of its plans, by threads (`sync`) or with asyncio (`aio`).
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from genre_assets.errors import TransientFailure
from genre_assets.settings import Settings
from genre_assets.triton.client import wire
from genre_assets.triton.client.prediction import Prediction, decode
from genre_assets.triton.client.wire import Transport
from genre_assets.triton.protocol import LABEL_SET, PROBE, TAG, WITH_TIMELINE

RELEASES = 3  # so often a request is asked again whose labels the server does not tell
DESCRIPTIONS = 50  # so often it is asked for them meanwhile: while a release comes in, answers may be ahead of it
TIMELINE_SECONDS = 900.0  # least deadline of a request for a timeline: others may have to end before


@dataclass(frozen=True)
class Describe:
    """Ask for the ensemble's configuration, within so many seconds. What is sent back is the configuration (a dict)."""

    seconds: float


@dataclass(frozen=True)
class Infer:
    """Send a request, within so many seconds. What is sent back is the library's answer."""

    batch: wire.Batch
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds. Nothing is sent back."""

    seconds: float


Step = Describe | Infer | Pause
Made = TypeVar("Made")
Plan = Generator[Step, Any, Made]


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
        self._known: wire.Known | None = None

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

    @property
    def _longest_s(self) -> float:
        """Seconds that any request of this client may take, with all its retries."""
        return max(self.deadline_s, TIMELINE_SECONDS)

    def _requests(
        self, items: Iterable[bytes | str], limit: int, *, log: bool, timeline: bool, trace: str
    ) -> list[wire.Batch]:
        """The items as requests that the server takes; probes (`log=False`) are left out of its log.

        An item whose timeline is wanted travels alone: it takes long.
        """
        found = list(wire.batches(items, 1 if timeline else min(self.batch, limit), self.batch_bytes))
        if trace:
            prefix = wire.span_of(trace)
            found = [replace(batch, request_id=f"{prefix}-{number}") for number, batch in enumerate(found)]
        return [replace(b, request_id=b.request_id if log else PROBE + b.request_id, timeline=timeline) for b in found]

    def _asked(self, batch: wire.Batch) -> dict[str, Any] | None:
        """The parameters of a request."""
        return {**(self.parameters or {}), WITH_TIMELINE: True} if batch.timeline else self.parameters

    def _described(self) -> Plan[wire.Known]:
        """What the server says of itself: asked once, and kept."""
        if self._known is None:
            self._known = yield from self._asked_again()
        return self._known

    def _answered(self, batch: wire.Batch) -> Plan[list[Prediction]]:
        """The predictions of a request, with the labels of the release that answered.

        Those of a release that comes in meanwhile are asked for until the server tells them.
        """
        deadline = self._longest_s if batch.timeline else self.deadline_s
        for _ in range(RELEASES):
            answer = yield from self._retried(lambda seconds: Infer(batch, seconds), deadline)
            for _ in range(DESCRIPTIONS):
                labels = self._labels_of(answer)
                if labels is not None:
                    return decode(answer, labels, batch.request_id, timeline=batch.timeline)
                self._known = yield from self._asked_again()
                if self._labels_of(answer) is None:
                    yield Pause(wire.FIRST_PAUSE)
        raise TransientFailure(f"Triton at {self.address} does not tell the labels of its answers")

    def _asked_again(self) -> Plan[wire.Known]:
        config = yield from self._retried(Describe, self.deadline_s)
        return wire.described(config)

    def _retried(self, step: Callable[[float], Step], deadline_s: float) -> Plan[Any]:
        """What comes of a step that is done until it succeeds, is refused, or the deadline is over."""
        retries = wire.Retries(self.address, deadline_s)
        while True:
            try:
                return (yield step(retries.left()))
            except wire.errors() as error:
                pause = retries.after(error)
            yield Pause(pause)

    def _labels_of(self, answer: Any) -> list[str] | None:
        """The labels of an answer, if they are known: those of another release, which came in meanwhile, are not."""
        said = answer.as_numpy(LABEL_SET)
        known = self._known
        if known is None or (said is not None and said[0, 0].decode() != known.label_set):
            return None
        return known.labels
