"""The client: `GenreClient(address).predict([...])`, over gRPC or HTTP.

Items are bytes of audio files or `s3://bucket/key`; answers come in the order of the items, one for each, with an error
in place of a label for an item that could not be used. Requests are split to the server's batch size, a few travel at
once, and what failed on the way is sent again until the deadline.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from genre_assets.errors import BadInput
from genre_assets.triton.client import wire
from genre_assets.triton.client.core import ClientCore, Describe, Infer, Made, Pause, Plan, Step
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.wire import Transport
from genre_assets.triton.protocol import ENSEMBLE

__all__ = ["GenreClient", "Prediction", "collect_items"]


class GenreClient(ClientCore):
    """Synchronous client of the ensemble.

    Over gRPC it may be used from several threads; over HTTP from the one that made it.

    Parameters
    ----------
    address : str
        `host:port` of the server.
    transport : {"grpc", "http"}
        gRPC is the faster; HTTP goes through proxies and sends one request at a time.
    deadline_s : float
        Seconds for one request with all its retries.
    batch : int
        Most items in a request; the server's own limit holds as well.
    batch_mb : float
        Most MiB in a request, where an item alone is not larger.
    concurrency : int
        Requests under way at once (gRPC).
    tag : str
        A word of the client's own, which is logged with each of its items.
    """

    def __init__(
        self,
        address: str,
        *,
        transport: Transport = "grpc",
        deadline_s: float = 60.0,
        batch: int = 4,
        batch_mb: float = 64.0,
        concurrency: int = 4,
        tag: str = "",
    ) -> None:
        super().__init__(address, transport, deadline_s, batch, batch_mb, tag)
        self.concurrency = concurrency if transport == "grpc" else 1
        self._library = _library(transport)
        self._client = self._connection(deadline_s)

    def predict(
        self, items: Sequence[bytes | str], *, log: bool = True, timeline: bool = False, trace: str = ""
    ) -> list[Prediction]:
        """Classify items.

        Parameters
        ----------
        items : sequence of bytes or str
            Bytes of audio files, or addresses `s3://bucket/key` in a bucket that the server may read.
        log : bool
            False marks probes, which the prediction log, the windows and the metrics leave out.
        timeline : bool
            True asks also for an answer for each segment of the whole file. An item is then a request of its own, and may
            take longer than `deadline_s`.
        trace : str
            W3C `traceparent` of the caller's span: the ids of the requests, and with them the rows of the log, begin with
            its trace and span.

        Returns
        -------
        list of Prediction
            One for each item, in order; an item that could not be used has an `error`.

        Raises
        ------
        BadInput
            For an item that is neither bytes nor an S3 address, or a `trace` that is no traceparent.
        TransientFailure
            When the server does not answer within the deadline.
        PermanentFailure
            When it refuses the request.
        """
        if not items:
            return []
        work = self._requests(items, self._done(self._described()).limit, log=log, timeline=timeline, trace=trace)
        plans = [self._answered(batch) for batch in work]
        if (
            self.concurrency == 1 or len(work) == 1 or timeline
        ):  # the HTTP library stays in the thread that made its client
            return [prediction for plan in plans for prediction in self._done(plan)]
        with ThreadPoolExecutor(self.concurrency) as pool:
            return [prediction for answers in pool.map(self._done, plans) for prediction in answers]

    def predict_each(
        self, sources: Iterable[str], *, at_once: int = 16, timeline: bool = False
    ) -> Iterator[tuple[str, Prediction]]:
        """Classify many files, a group of requests at a time.

        Parameters
        ----------
        sources : iterable of str
            Paths of files, or addresses `s3://bucket/key`.
        at_once : int
            Files that are read and sent together.
        timeline : bool
            See `predict`.

        Yields
        ------
        tuple of str and Prediction
            Each source with its prediction, in order, as answers come in. A file that cannot be read has an error, as
            one that cannot be decoded has.
        """
        for group in _grouped(sources, 1 if timeline else at_once):
            read = {source: _read(source) for source in group}
            good = [source for source in group if not isinstance(read[source], OSError)]
            answers = dict(zip(good, self.predict([read[source] for source in good], timeline=timeline), strict=True))  # type: ignore[misc]
            for source in group:
                yield source, answers.get(source) or Prediction("", {}, "", 0, f"unreadable: {read[source]!s}")

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the server's probabilities."""
        return self._done(self._described()).labels

    @property
    def limit(self) -> int:
        """Most items that the server takes in a request."""
        return self._done(self._described()).limit

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
        if "_patient" in vars(self):  # it was used
            self._patient.close()

    def __enter__(self) -> "GenreClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _done(self, plan: Plan[Made]) -> Made:
        """Do the steps of a plan; what is raised meanwhile is the plan's to decide on."""
        try:
            step = next(plan)
            while True:
                try:
                    came = self._do(step)
                except wire.errors() as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(came)
        except StopIteration as end:
            made: Made = end.value
            return made

    def _do(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                return time.sleep(seconds)
            case Describe(seconds):
                return _config(self._client, self.transport, seconds)
            case Infer(batch, seconds):
                limit = {"client_timeout": seconds} if self.transport == "grpc" else {}
                client = self._patient if batch.timeline else self._client
                tensors, asked = wire.inputs(self._library, batch), self._asked(batch)
                return client.infer(ENSEMBLE, tensors, request_id=batch.request_id, parameters=asked, **limit)

    @cached_property
    def _patient(self) -> Any:
        """The connection for requests that may take long."""
        return self._client if self.transport == "grpc" else self._connection(self._longest_s)

    def _connection(self, seconds: float) -> Any:
        # The HTTP library takes its limits for the connection only; gRPC takes one with each call.
        limits = {"network_timeout": seconds, "connection_timeout": 5.0} if self.transport == "http" else {}
        return self._library.InferenceServerClient(self.address.removeprefix("http://"), **limits)


def answers(address: str, *, timeout: float) -> bool:
    """Whether a server answers gRPC at the address within so many seconds, however it answers."""
    from tritonclient.utils import InferenceServerException

    client = _library("grpc").InferenceServerClient(address)
    try:
        client.is_server_live(client_timeout=timeout)
    except InferenceServerException as error:
        return not any(word in str(error.status()) for word in ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
    finally:
        client.close()
    return True


def collect_items(paths: Iterable[str | Path]) -> list[str]:
    """Sources for `predict_each`: files and `s3://` addresses as they are, folders as the files in them, sorted.

    Raises `BadInput` for a path that is not there, or a folder without files.
    """
    found: list[str] = []
    for path in map(str, paths):
        if path.startswith("s3://") or Path(path).is_file():
            found.append(path)
        elif Path(path).is_dir():
            inside = [str(f) for f in sorted(Path(path).rglob("*")) if f.is_file() and not f.name.startswith(".")]
            if not inside:
                raise BadInput(f"no file is in {path}")
            found += inside
        else:
            raise BadInput(f"{path} is not there: give files, folders or s3://bucket/key")
    return found


def _grouped(sources: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(sources)
    while group := list(islice(iterator, size)):
        yield group


def _read(source: str) -> bytes | str | OSError:
    if source.startswith("s3://"):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        return error


def _library(transport: Transport) -> Any:
    import importlib

    return importlib.import_module(f"tritonclient.{transport}")


def _config(client: Any, transport: Transport, timeout: float) -> Any:
    if transport == "grpc":
        return client.get_model_config(ENSEMBLE, as_json=True, client_timeout=timeout)["config"]
    return client.get_model_config(ENSEMBLE)
