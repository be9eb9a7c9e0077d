"""The same client for asyncio: `async with AsyncGenreClient(address) as client: await client.predict([...])`."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

from genre_assets.errors import TransientFailure
from genre_assets.serving import client_protocol as protocol
from genre_assets.serving.client_protocol import Batch, Prediction, Transport
from genre_assets.serving.protocol import ENSEMBLE
from genre_assets.settings import Settings


class AsyncGenreClient:
    """Asynchronous client; many `predict` calls may be under way at once. Parameters as of `GenreClient`."""

    def __init__(
        self,
        address: str,
        *,
        transport: Transport = "grpc",
        deadline_s: float = 60.0,
        batch: int = 4,
        batch_mb: float = 64.0,
        concurrency: int = 8,
    ) -> None:
        self.address = address
        self.transport: Transport = transport
        self.deadline_s = deadline_s
        self.batch = batch
        self.batch_bytes = round(batch_mb * 2**20)
        self._library = importlib.import_module(f"tritonclient.{transport}.aio")
        self._client = self._library.InferenceServerClient(address.removeprefix("http://"))
        self._places = asyncio.Semaphore(concurrency)
        self._labels: list[str] = []
        self._limit = 0

    @classmethod
    def from_settings(cls, settings: Settings, *, transport: Transport = "grpc", **options: Any) -> "AsyncGenreClient":
        """A client of the configured server."""
        return cls(
            settings.triton_grpc if transport == "grpc" else settings.triton_http, transport=transport, **options
        )

    async def predict(self, items: Sequence[bytes | str]) -> list[Prediction]:
        """One prediction for each item, in order; raises as `GenreClient.predict` does."""
        if not items:
            return []
        if not self._labels:
            config = await self._retried(self._config)
            self._labels, self._limit = protocol.described(config)
        work = protocol.batches(items, min(self.batch, self._limit), self.batch_bytes)
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
        tensors = protocol.inputs(self._library, batch)

        async def send(timeout: float) -> Any:
            call = self._client.infer(ENSEMBLE, tensors, request_id=batch.request_id)
            return await asyncio.wait_for(call, timeout)

        async with self._places:
            return protocol.decode(await self._retried(send), self._labels)

    async def _retried(self, call: Callable[[float], Awaitable[Any]]) -> Any:
        """Call until it succeeds, refuses, or the deadline is over."""
        from tritonclient.utils import InferenceServerException

        end = time.monotonic() + self.deadline_s
        pause = protocol.FIRST_PAUSE
        while True:
            try:
                return await call(max(0.1, end - time.monotonic()))
            except (InferenceServerException, OSError, TimeoutError, *_http_errors()) as error:
                problem = protocol.translated(error, self.address)
                if not isinstance(problem, TransientFailure) or time.monotonic() + pause >= end:
                    raise problem from error
            await asyncio.sleep(pause)
            pause = min(protocol.LONGEST_PAUSE, pause * 1.6)


def _http_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises when the connection breaks (it is none of the standard errors)."""
    import aiohttp

    return (aiohttp.ClientError,)
