"""The HTTP door: takes a request in whole, looks at it, and sends it on to Triton over a kept connection.

A body that comes in pieces or compressed reaches Triton in one piece and plain: it puts the list of a body's pieces on
its stack, and unpacks without a limit.
"""

import asyncio
import json
import logging
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from genre_assets.triton.door.measured import is_for_ensemble
from genre_assets.triton.door.room import RETRY_SECONDS, Held, Room
from genre_assets.triton.door.rules import (
    HEADER_LENGTH,
    INFER,
    UNAVAILABLE,
    Refused,
    Why,
    check_nesting,
    check_shapes,
    classified,
    json_part,
    output_types,
    refuse_text,
)
from genre_assets.triton.protocol import DOOR_HEADER

BODY_SECONDS = 120.0  # for a body to arrive
CONNECT_SECONDS = 2.0
LONGEST_LINE = 16 * 1024  # of a request, and of each header
READ_BYTES = 2**20
SMALLEST_PART = 2**15  # smaller ones are put together: each costs more than it holds
GOODBYE_SECONDS = 2.0  # for a client that is one too many to read why
METRICS = "/metrics"  # the door's own; Triton's are at another port
# They are about one connection, or are made anew.
_NOT_PASSED = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "content-length", "expect", DOOR_HEADER}
)
_UNPACKED = frozenset({"content-encoding"})


def _is_ours(record: logging.LogRecord) -> bool:
    """A client's own mistake is answered, and needs no traceback in our log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_log = logging.getLogger("genre_assets.door")
_log.addFilter(_is_ours)


class HttpDoor:
    """Stands before the HTTP port of a Triton at `inner` (`host:port`), which knows it by `key`.

    `largest` is the most bytes of one body, unpacked.
    """

    def __init__(self, inner: str, key: str, largest: int, room: Room) -> None:
        self.inner = f"http://{inner}"
        self.key = key
        self.largest = largest
        self.room = room

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `OSError` if the port cannot be had."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=READ_BYTES,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._door = web.Server(
            self._answer,
            handler_cancellation=True,  # nobody waits for the answer any more
            access_log=None,
            logger=_log,
            keepalive_timeout=75,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            read_bufsize=READ_BYTES,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._protocol, host, port, backlog=1024)

    async def stop(self, grace: float) -> None:
        """Take no more connections, give what is under way some seconds."""
        self._listener.close()
        self._door.pre_shutdown()
        await self._door.shutdown(grace)
        await self._session.close()

    def _protocol(self) -> asyncio.BaseProtocol:
        """Of a new connection."""
        self.room.clients["http"] = len(self._door.connections)
        try:
            self.room.check_client("http")
        except Refused as refusal:
            self.room.refused["http", refusal.why] += 1
            return _Goodbye(refusal)
        return self._door()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == METRICS:
            self.room.clients["http"] = len(self._door.connections)
            return web.Response(text=self.room.text())
        with self.room.requests.one("http") as seen:
            seen.asks = INFER.fullmatch(request.raw_path.partition("?")[0]) is not None and is_for_ensemble(
                request.raw_path
            )
            try:
                answer = await self._looked_at(request)
                seen.status(answer.status)
            except Refused as refusal:
                seen.refused(refusal)
                self.room.refused["http", refusal.why] += 1
                return _said(refusal)
            return answer

    async def _looked_at(self, request: web.BaseRequest) -> web.StreamResponse:
        with self.room.holding() as held:
            parts = await self._body(request, held)
            path = request.raw_path.partition("?")[0]
            if not path.startswith("/"):
                raise Refused(Why.ADDRESS, "the address of a request begins with /")
            if parts:
                text = json_part(path, request.headers.getall(HEADER_LENGTH, []), parts, held.size)
                await check_nesting(text)
                check_shapes(text, held.size)
                if model := INFER.fullmatch(path):
                    await self._refuse_classes(model.group(1), text)
            return await self._pass(request, parts, held.size)

    async def _body(self, request: web.BaseRequest, held: Held) -> list[bytes]:
        """The body in the parts in which it came, unpacked. What it says of its length is held before it comes."""
        length = request.content_length or 0
        if length > self.largest:
            raise self._too_large()
        known = length if "Content-Encoding" not in request.headers else 0
        held.more(known)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while part := await (_as_it_came(request.content) if known else request.content.readany()):
                    size += len(part)
                    if size > self.largest:
                        raise self._too_large()
                    if size > held.size:
                        held.more(size - held.size)
                    if parts and len(parts[-1]) < SMALLEST_PART:
                        parts[-1] += part
                    else:
                        parts.append(part)
        except TimeoutError:
            raise Refused(Why.LATE, f"the body did not arrive within {BODY_SECONDS:.0f} s: send it again") from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise Refused(Why.BODY, f"the body is not what its headers say: {error}") from None
        return parts

    def _too_large(self) -> Refused:
        return Refused(
            Why.TOO_LARGE,
            f"the body is larger than GENRE_DOOR_MAX_MB allows ({self.largest / 2**20:.0f} MB): send fewer items at once",
        )

    async def _refuse_classes(self, model: str, text: bytes) -> None:
        """Classes are wanted rarely, so the model is asked anew each time what its outputs are."""
        if names := classified(text):
            try:
                async with self._session.get(URL(f"{self.inner}{model}", encoded=True)) as found:
                    refuse_text(names, output_types(json.loads(await found.read())))
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _away(error) from None

    async def _pass(self, request: web.BaseRequest, parts: list[bytes], size: int) -> web.StreamResponse:
        headers = _passed(request.headers, _NOT_PASSED | _UNPACKED)
        if self.key:
            headers[DOOR_HEADER] = self.key
        try:
            address = URL(f"{self.inner}{request.raw_path}", encoded=True)
            asked = self._session.request(
                request.method,
                address,
                headers=headers,
                data=_Parts(parts, size) if parts else None,
                allow_redirects=False,
            )
            async with asked as found:
                answer = web.StreamResponse(
                    status=found.status, reason=found.reason, headers=_passed(found.headers, _NOT_PASSED)
                )
                if found.content_length is not None:
                    answer.content_length = found.content_length
                return await self._hand_back(request, found, answer)
        except (aiohttp.InvalidURL, UnicodeError, ValueError) as error:
            raise Refused(Why.BODY, f"the request cannot be sent on: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _away(error) from None

    async def _hand_back(
        self, request: web.BaseRequest, found: aiohttp.ClientResponse, answer: web.StreamResponse
    ) -> web.StreamResponse:
        await answer.prepare(request)
        try:
            async for part in found.content.iter_any():
                await answer.write(part)
            await answer.write_eof()
        except (aiohttp.ClientError, OSError):
            if request.transport is not None:
                request.transport.abort()  # its beginning is on the way: a client must see that the rest is missing
        return answer


def _passed(headers: CIMultiDictProxy[str], without: frozenset[str]) -> CIMultiDict[str]:
    """The headers that are for the other side."""
    named = {word.strip().lower() for line in headers.getall("Connection", ()) for word in line.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in without | named)


def _away(error: Exception) -> Refused:
    if isinstance(error, aiohttp.ClientConnectorError):
        return Refused(Why.AWAY, "Triton does not answer: it is starting, or is stopped; try again in a moment")
    return Refused(Why.AWAY, "Triton ended before it answered: send the request again")


async def _as_it_came(content: aiohttp.StreamReader) -> bytes:
    """What one read of the socket has brought; `readany` puts several together, which copies them."""
    return (await content.readchunk())[0]


class _Parts(aiohttp.Payload):
    """A body of known size, sent as it lies here: putting it together would copy it once more."""

    def __init__(self, parts: list[bytes], size: int) -> None:
        super().__init__(parts)
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """As text, which nobody asks for."""
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        """Hand all of it to the transport, which sends it as the socket takes it."""
        for part in self._value:
            await writer.write(part, drain=False)


def _said(refusal: Refused) -> web.Response:
    """As Triton words its own refusals."""
    headers = {"Retry-After": str(RETRY_SECONDS)} if refusal.status == UNAVAILABLE else {}
    text = json.dumps({"error": refusal.reason})
    return web.Response(status=refusal.status, text=text, content_type="application/json", headers=headers)


class _Goodbye(asyncio.Protocol):
    """Tells a client that is one too many so, whatever it asks."""

    def __init__(self, refusal: Refused) -> None:
        text = json.dumps({"error": refusal.reason}).encode()
        self._answer = (
            f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_SECONDS}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        ).encode() + text

    def connection_made(self, transport: Any) -> None:
        """Speak at once, and read what the client sends until it hangs up: closed before, it would lose the answer."""
        transport.write(self._answer)
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, transport.abort)
