"""The same client for asyncio: `async with AsyncGenreClient(address) as client: await client.predict([...])`."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

from genre_assets.errors import TransientFailure
from genre_assets.triton.client import wire
from genre_assets.triton.client.prediction import Prediction, decode
from genre_assets.triton.client.wire import Batch, Transport
from genre_assets.triton.protocol import ENSEMBLE


class AsyncGenreClient(wire.ClientCore):
    """Client of the ensemble for asyncio; many `predict` calls may be under way at once.

    Parameters
    ----------
    address : str
        `host:port` of the server.
    transport : {"grpc", "http"}
        gRPC is the faster; HTTP goes through proxies.
    deadline_s : float
        Seconds for one request with all its retries.
    batch : int
        Most items in a request; the server's own limit holds as well.
    batch_mb : float
        Most MiB in a request, where an item alone is not larger.
    concurrency : int
        Requests under way at once.
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
        concurrency: int = 8,
        tag: str = "",
    ) -> None:
        super().__init__(address, transport, deadline_s, batch, batch_mb, tag)
        self._library = importlib.import_module(f"tritonclient.{transport}.aio")
        # Each call has its own deadline; this library would have another, of a minute, for them all.
        limits = {"conn_timeout": max(deadline_s, wire.TIMELINE_SECONDS)} if transport == "http" else {}
        self._client = self._library.InferenceServerClient(address.removeprefix("http://"), **limits)
        self._places = asyncio.Semaphore(concurrency)

    async def predict(
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
        if self._known is None:
            self._known = await self._described()
        work = self._requests(items, self._known.limit, log=log, timeline=timeline, trace=trace)
        answers = await asyncio.gather(*(self._ask(batch) for batch in work))
        return [prediction for some in answers for prediction in some]

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def __aenter__(self) -> "AsyncGenreClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _config(self, timeout: float) -> Any:
        if self.transport == "grpc":
            answer = await self._client.get_model_config(ENSEMBLE, as_json=True, client_timeout=timeout)
            return answer["config"]
        return await asyncio.wait_for(self._client.get_model_config(ENSEMBLE), timeout)

    async def _ask(self, batch: Batch) -> list[Prediction]:
        tensors = wire.inputs(self._library, batch)

        async def send(timeout: float) -> Any:
            call = self._client.infer(ENSEMBLE, tensors, request_id=batch.request_id, parameters=self._asked(batch))
            return await asyncio.wait_for(call, timeout)

        async with self._places:
            answer, labels = await self._labelled(lambda: self._retried(send, self._deadline(batch)))
        return decode(answer, labels, batch.request_id, timeline=batch.timeline)

    async def _labelled(self, ask: Callable[[], Awaitable[Any]]) -> tuple[Any, list[str]]:
        """An answer and its labels; those of a release that comes in are asked for until the server tells them."""
        for _ in range(wire.RELEASES):
            answer = await ask()
            for _ in range(wire.DESCRIPTIONS):
                labels = self._labels_of(answer)
                if labels is not None:
                    return answer, labels
                self._known = await self._described()
                if self._labels_of(answer) is None:
                    await asyncio.sleep(wire.FIRST_PAUSE)
        raise TransientFailure(f"Triton at {self.address} does not tell the labels of its answers")

    async def _described(self) -> wire.Known:
        return wire.described(await self._retried(self._config))

    async def _retried(self, call: Callable[[float], Awaitable[Any]], deadline_s: float | None = None) -> Any:
        """Call until it succeeds, refuses, or the deadline is over."""
        from tritonclient.utils import InferenceServerException

        retries = wire.Retries(self.address, deadline_s or self.deadline_s)
        while True:
            try:
                return await call(retries.left())
            except (InferenceServerException, OSError, TimeoutError, *_http_errors()) as error:
                pause = retries.after(error)
            await asyncio.sleep(pause)


def _http_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises when the connection breaks (it is none of the standard errors)."""
    import aiohttp

    return (aiohttp.ClientError,)
