"""The gRPC door: hands messages on to Triton and back as they are, without reading them.

Only a message in which the word `classification` stands is read. Deadlines, cancellation, metadata, status and details
pass both ways.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from genre_assets.triton.door.measured import Seen, is_for_ensemble
from genre_assets.triton.door.room import Held, Room
from genre_assets.triton.door.rules import UNAVAILABLE, Refused, Why, refuse_text, speaks_of_classes
from genre_assets.triton.protocol import GRPC_DOOR_HEADER

SERVICE = "inference.GRPCInferenceService"
UNARY = f"/{SERVICE}/ModelInfer"
ASKING = frozenset({UNARY, f"/{SERVICE}/ModelStreamInfer"})
HEALTH = ("/grpc.health.v1.Health/Check",)
SECONDS = 5.0  # for the metadata of a model
Metadata = list[tuple[str, str | bytes]]
_OWN = ("grpc-", ":")  # of one connection
_NOT_PASSED = frozenset({"user-agent", "content-type", "te", "host", GRPC_DOOR_HEADER})
_INNER = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Triton is back a second after it was away, and clients ask all the time.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcDoor(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Stands before the gRPC port of a Triton at `inner` (`host:port`), which knows it by `key`.

    `largest` is the most bytes of one message.
    """

    def __init__(self, inner: str, key: str, largest: int, room: Room) -> None:
        self.key = key
        self.largest = largest
        self.room = room
        self._inner = grpc.aio.insecure_channel(inner, options=_INNER)
        self._metadata = self._inner.unary_unary(f"/{SERVICE}/ModelMetadata")
        self._handlers = {path: self._handler(path, streams=streams) for path, streams in _methods()}

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `RuntimeError` if the port cannot be had."""
        options = (
            ("grpc.max_receive_message_length", self.largest),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.max_allowed_incoming_connections", self.room.most_connections),
        )
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, give those under way some seconds."""
        await self._server.stop(grace)
        await self._inner.close()

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; None for one that Triton does not know either."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, path: str, *, streams: bool) -> Any:
        if streams:
            return grpc.stream_stream_rpc_method_handler(self._stream(path))
        # As if it were a stream of messages, so that a call is known of before its message is there.
        return grpc.stream_unary_rpc_method_handler(self._call(path))

    def _call(self, path: str) -> Any:
        ask = self._inner.unary_unary(path)

        async def answer_to(messages: AsyncIterator[bytes], context: Any, seen: Seen) -> bytes:
            with self.room.call(), self.room.holding() as held:
                seen.asks = (
                    path == UNARY
                )  # until its message says whom: one that is refused before may have been for it
                message = await self._next(messages, held)
                if message is None:
                    raise Refused(Why.BODY, f"no message, or one above {self.largest} bytes: gRPC says which")
                seen.asks = seen.asks and is_for_ensemble(message)
                if path in ASKING and speaks_of_classes(message):
                    await self._refuse_classes(message)
                inner = ask(message, timeout=context.time_remaining(), metadata=self._passed(context))
                answer: bytes = await inner
                await _hand_back(inner, context)
                return answer

        async def call(messages: AsyncIterator[bytes], context: Any) -> bytes:
            with self.room.requests.one("grpc") as seen:
                try:
                    answer = await answer_to(messages, context, seen)
                except Refused as refusal:
                    seen.refused(refusal)
                    await context.abort(_code(refusal), refusal.reason)
                except grpc.aio.AioRpcError as error:
                    seen.code(error.code())
                    await self._abort(error, context)
                else:
                    seen.code(grpc.StatusCode.OK)
                    return answer
            raise AssertionError("`abort` raises")

        return call

    def _stream(self, path: str) -> Any:
        ask = self._inner.stream_stream(path)

        async def call(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            refusals: list[Refused] = []
            try:
                with self.room.call():
                    looked_at = self._looked_at(messages, refusals, lambda: inner.cancel())
                    inner = ask(looked_at, timeout=context.time_remaining(), metadata=self._passed(context))
                    try:
                        async for answer in inner:
                            yield answer
                        await _hand_back(inner, context)
                    finally:
                        inner.cancel()
            except Refused as refusal:
                await context.abort(_code(refusal), refusal.reason)
            except grpc.aio.AioRpcError as error:
                if not refusals:
                    await self._abort(error, context)
            finally:
                if refusals:
                    await context.abort(_code(refusals[0]), refusals[0].reason)

        return call

    async def _looked_at(
        self, messages: AsyncIterator[bytes], refusals: list[Refused], stop: Callable[[], object]
    ) -> AsyncIterator[bytes]:
        """The messages of a stream as they may go on. The first that may not goes into `refusals`, and the call is stopped."""
        try:
            while True:
                with self.room.holding() as held:
                    message = await self._next(messages, held)
                    if message is None:
                        return
                    if speaks_of_classes(message):
                        await self._refuse_classes(message)
                    yield message
        except Refused as refusal:
            self.room.refused["grpc", refusal.why] += 1
            refusals.append(refusal)
            stop()

    async def _next(self, messages: AsyncIterator[bytes], held: Held) -> bytes | None:
        """The next message, held once it is whole; None if there is no more. Raises `Refused`."""
        async with self.room.arriving():
            message = await anext(messages, None)
        if message is not None:
            held.more(len(message))
        return message

    async def _refuse_classes(self, message: bytes) -> None:
        """Classes are wanted rarely, so the model is asked anew each time what its outputs are."""
        pb: Any = service_pb2
        try:
            asked = pb.ModelInferRequest.FromString(message)
        except DecodeError as error:
            raise Refused(Why.NOT_JSON, f"the message is not a ModelInferRequest: {error}") from None
        if names := [output.name for output in asked.outputs if "classification" in output.parameters]:
            wanted = pb.ModelMetadataRequest(name=asked.model_name, version=asked.model_version)
            found = await self._metadata(wanted.SerializeToString(), timeout=SECONDS)
            outputs = pb.ModelMetadataResponse.FromString(found).outputs
            refuse_text(names, {output.name: output.datatype for output in outputs})

    async def _abort(self, error: grpc.aio.AioRpcError, context: Any) -> None:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            self.room.refused["grpc", Why.AWAY] += 1
        await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))

    def _passed(self, context: Any) -> Metadata:
        given = [
            (name, value)
            for name, value in context.invocation_metadata() or ()
            if name not in _NOT_PASSED and not name.startswith(_OWN)
        ]
        return [*given, (GRPC_DOOR_HEADER, self.key)] if self.key else given


def _code(refusal: Refused) -> grpc.StatusCode:
    full = refusal.status == UNAVAILABLE
    return grpc.StatusCode.RESOURCE_EXHAUSTED if full else grpc.StatusCode.INVALID_ARGUMENT


def _methods() -> list[tuple[str, bool]]:
    """Every method of Triton's service, by its path, and whether it streams."""
    descriptor: Any = service_pb2
    methods = descriptor.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    return [
        *((f"/{SERVICE}/{method.name}", bool(method.client_streaming)) for method in methods),
        *((path, False) for path in HEALTH),
    ]


async def _hand_back(inner: Any, context: Any) -> None:
    if initial := await inner.initial_metadata():
        await context.send_initial_metadata(tuple(initial))
    if trailing := await inner.trailing_metadata():
        context.set_trailing_metadata(tuple(trailing))
