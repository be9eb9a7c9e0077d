"""The same client for asyncio: `async with AsyncGenreClient(address) as client: await client.predict([...])`."""

import asyncio
import importlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from genre_assets.triton.client import wire
from genre_assets.triton.client.core import ClientCore, Describe, Infer, Made, Pause, Plan, Step
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.wire import Transport
from genre_assets.triton.protocol import ENSEMBLE


class AsyncGenreClient(ClientCore):
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
        limits = {"conn_timeout": self._longest_s} if transport == "http" else {}
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
        limit = (await self._done(self._described())).limit
        work = self._requests(items, limit, log=log, timeline=timeline, trace=trace)
        answers = await asyncio.gather(*(self._placed(self._answered(batch)) for batch in work))
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

    async def _placed(self, plan: Plan[Made]) -> Made:
        """A plan done when there is a place for its requests."""
        async with self._places:
            return await self._done(plan)

    async def _done(self, plan: Plan[Made]) -> Made:
        """Do the steps of a plan; what is raised meanwhile is the plan's to decide on."""
        try:
            step = next(plan)
            while True:
                try:
                    came = await self._do(step)
                except wire.errors() as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(came)
        except StopIteration as end:
            made: Made = end.value
            return made

    async def _do(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Describe(seconds):
                return await self._config(seconds)
            case Infer(batch, seconds):
                tensors, asked = wire.inputs(self._library, batch), self._asked(batch)
                call = self._client.infer(ENSEMBLE, tensors, request_id=batch.request_id, parameters=asked)
                return await asyncio.wait_for(call, seconds)

    async def _config(self, seconds: float) -> Any:
        if self.transport == "grpc":
            answer = await self._client.get_model_config(ENSEMBLE, as_json=True, client_timeout=seconds)
            return answer["config"]
        return await asyncio.wait_for(self._client.get_model_config(ENSEMBLE), seconds)
