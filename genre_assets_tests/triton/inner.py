"""A stand-in for Triton behind the door, which keeps what it was sent; in a thread of its own."""

import asyncio
import gzip
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from aiohttp import web
from tritonclient.grpc import service_pb2

SLOW = b'{"slow": 1}'
OUTPUTS = {"LABEL": "BYTES", "PROBABILITIES": "FP32"}


@dataclass
class Sent:
    """One HTTP request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Inner:
    """Answers HTTP and gRPC; `calls` are (path, message, metadata, seconds that are left)."""

    http: int
    grpc: int
    sent: list[Sent] = field(default_factory=list)
    calls: list[tuple[str, bytes, dict[str, Any], float | None]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Inner":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Away, as a server that has ended."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _start(self) -> None:
        self._web = web.Server(
            self._answer,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
        )
        self._listener = await self._loop.create_server(self._web, "127.0.0.1", self.http)
        self._rpc = grpc.aio.server(options=(("grpc.max_receive_message_length", -1),))
        self._rpc.add_generic_rpc_handlers((_Handlers(self),))
        self._rpc.add_insecure_port(f"127.0.0.1:{self.grpc}")
        await self._rpc.start()

    async def _stop(self) -> None:
        self._listener.close()
        await self._web.shutdown(0.1)
        await self._rpc.stop(0)

    def _request(self, message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=2**30)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.sent.append(Sent(request.method, request.raw_path, dict(request.headers), body))
        if request.path == "/v2/health/live":
            self.sent.pop()  # the light's
            return web.Response()
        if request.path == "/v2/models/toy":
            outputs = [{"name": name, "datatype": kind, "shape": [-1, 1]} for name, kind in OUTPUTS.items()]
            return web.json_response({"name": "toy", "outputs": outputs})
        if request.path == "/v2/slow" or body == SLOW:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request.path == "/v2/packed":
            return web.Response(body=gzip.compress(b"packed"), headers={"Content-Encoding": "gzip"})
        if request.path == "/v2/events":
            events = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await events.prepare(request)
            for number in range(3):
                await events.write(f"data: {number}\n\n".encode())
            await events.write_eof()
            return events
        return web.Response(status=418, headers={"NV-Status": "kept"}, text=json.dumps({"bytes": len(body)}))


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, inner: Inner) -> None:
        self.inner = inner

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method

        async def call(message: bytes, context: Any) -> bytes:
            if path.endswith("ServerLive"):  # the light's
                return b""
            self._note(path, message, context)
            pb: Any = service_pb2
            if path.endswith("ModelMetadata"):
                tensors = [pb.ModelMetadataResponse.TensorMetadata(name=n, datatype=t) for n, t in OUTPUTS.items()]
                return bytes(pb.ModelMetadataResponse(name="toy", outputs=tensors).SerializeToString())
            context.set_trailing_metadata((("trailing", "kept"),))
            if path.endswith("ModelStatistics"):
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such model", (("why", "kept"),))
            if path.endswith("ModelConfig") or message.endswith(SLOW):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.inner.cancelled.set()
                    raise
            await context.send_initial_metadata((("initial", "kept"),))
            return b"answer:" + message[:10]

        async def stream(messages: Any, context: Any) -> Any:
            async for message in messages:
                self._note(path, message, context)
                yield b"answer:" + message[:10]
            context.set_trailing_metadata((("trailing", "kept"),))

        if path.endswith("ModelStreamInfer"):
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(call)

    def _note(self, path: str, message: bytes, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.inner.calls.append((path, message, metadata, context.time_remaining()))
