"""The bounds of the door: what is beyond them is told to try again, and nothing else is harmed."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest

from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.triton.door import room as door_room
from genre_assets.triton.door.grpc import GrpcDoor
from genre_assets.triton.door.room import Room
from genre_assets.triton.door.rules import CLASSIFICATION, Why, speaks_of_classes
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.triton.door import INFER, LARGEST_MB, LENGTH, SERVICE, Door, door_settings, pb, wants
from genre_assets_tests.triton.inner import Inner
from genre_assets_tests.waiting import until

MB = 2**20
CLIENTS = 8


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    settings = door_settings(tmp_path_factory.mktemp("door"), DOOR_MEMORY_MB=LARGEST_MB + 4, DOOR_CONNECTIONS=CLIENTS)
    with (
        Inner(settings.triton_inner_http_port, settings.triton_inner_grpc_port) as inner,
        running(TritonDoor(settings)),
    ):
        yield Door(settings, inner)


def half_sent(door: Door, size: int, headers: dict[str, str]) -> HTTPConnection:
    """A request whose body is still on its way."""
    connection = HTTPConnection(door.settings.triton_http, timeout=20)
    connection.putrequest("POST", INFER)
    for name, value in {LENGTH: "2", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(bytes(size))
    return connection


def metrics(door: Door) -> dict[str, int]:
    """What the door counts, by name and labels."""
    status, _, text = door.http("GET", "/metrics")
    assert status == 200
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: round(float(value)) for name, _, value in lines}


def refused(door: Door, transport: str, why: Why) -> int:
    return metrics(door)[f'genre_door_refused_total{{transport="{transport}",reason="{why}"}}']


def test_bodies_beyond_the_memory_are_told_to_try_again_and_others_pass(door: Door) -> None:
    before = refused(door, "http", Why.MEMORY), refused(door, "grpc", Why.MEMORY)
    size = LARGEST_MB * MB
    first = half_sent(door, MB, {"Content-Length": str(size)})  # held as a whole, though most of it is still to come
    until(lambda: metrics(door)["genre_door_held_bytes"] == size, "its body is held", 10)
    for body, options in ((bytes(size), {}), (iter([bytes(MB)] * 6), {"encode_chunked": True})):
        status, headers, said = door.http("POST", INFER, body, {LENGTH: "2"}, **options)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "as much as GENRE_DOOR_MEMORY_MB allows (12 MB for all requests together)" in json.loads(said)["error"]
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError, match="GENRE_DOOR_MEMORY_MB") as error:
            ask(bytes(6 * MB), timeout=20)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as error:
            list(stream(iter([bytes(6 * MB)]), timeout=20))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(bytes(MB), timeout=20)
    assert door.http("POST", INFER, bytes(MB), {LENGTH: "0"})[0] == 418
    first.send(bytes(size - MB))
    assert first.getresponse().status == 418
    first.close()
    assert metrics(door)["genre_door_held_bytes"] == 0
    assert (refused(door, "http", Why.MEMORY), refused(door, "grpc", Why.MEMORY)) == (before[0] + 2, before[1] + 2)
    assert door.http("POST", INFER, bytes(size), {LENGTH: "0"})[0] == 418


def test_what_a_client_that_hangs_up_had_sent_is_held_no_more(door: Door) -> None:
    connection = half_sent(door, MB, {"Transfer-Encoding": "chunked", "Content-Encoding": "identity"})
    connection.close()
    connection = half_sent(door, MB, {"Content-Length": str(4 * MB)})
    until(lambda: metrics(door)["genre_door_held_bytes"] == 4 * MB, "its body is held", 10)
    connection.close()
    until(lambda: metrics(door)["genre_door_held_bytes"] == 0, "nothing is held", 10)


def test_a_connection_too_many_is_told_so_and_one_is_free_when_another_ends(door: Door) -> None:
    host, port = door.settings.triton_http.split(":")
    before = refused(door, "http", Why.CONNECTIONS)
    kept = HTTPConnection(door.settings.triton_http, timeout=20)
    kept.request("GET", "/v2")
    assert kept.getresponse().read()
    idle = [socket.create_connection((host, int(port)), 20) for _ in range(CLIENTS)]  # some of them in vain
    try:
        until(lambda: door.http("GET", "/v2")[0] == 503, "it is full", 10)
        status, headers, said = door.http("POST", INFER, bytes(3 * MB), {LENGTH: "0"})
        assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")
        assert "as many clients as GENRE_DOOR_CONNECTIONS allows (8)" in json.loads(said)["error"]
        kept.request("GET", "/v2")  # whoever was there first is served on
        answer = kept.getresponse()
        assert (answer.status, bool(answer.read())) == (418, True)
        with door.channel() as channel:
            assert channel.unary_unary(f"{SERVICE}/ModelInfer")(b"x", timeout=20)
    finally:
        for connection in idle:
            connection.close()
        kept.close()
    until(lambda: door.http("GET", "/v2")[0] == 418, "there is room again", 10)
    assert refused(door, "http", Why.CONNECTIONS) >= before + 2


def test_a_grpc_call_too_many_is_told_so_and_http_goes_on(door: Door) -> None:
    with door.channel() as channel:
        slow = [channel.unary_unary(f"{SERVICE}/ModelConfig").future(b"", timeout=60) for _ in range(CLIENTS)]
        until(lambda: metrics(door)['genre_door_clients{transport="grpc"}'] == CLIENTS, "all of them wait", 10)
        with pytest.raises(grpc.RpcError, match="GENRE_DOOR_CONNECTIONS") as error:
            channel.unary_unary(f"{SERVICE}/ModelInfer")(b"x", timeout=20)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert door.http("GET", "/v2")[0] == 418
        for call in slow:
            call.cancel()
        until(lambda: metrics(door)['genre_door_clients{transport="grpc"}'] == 0, "none is left", 10)
        assert channel.unary_unary(f"{SERVICE}/ModelInfer")(b"x", timeout=20)
    assert refused(door, "grpc", Why.CONNECTIONS) >= 1


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has hung up; one that it keeps hears of its settings."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_grpc_connections_are_bounded_too(door: Door) -> None:
    host, port = door.settings.triton_grpc.split(":")
    idle = [socket.create_connection((host, int(port)), 20) for _ in range(3 * CLIENTS)]
    try:
        closed = sum(is_closed(connection) for connection in idle)
    finally:
        for connection in idle:
            connection.close()
    assert closed >= CLIENTS


def test_every_reason_is_counted_from_the_start_and_each_refusal_once(door: Door) -> None:
    found = metrics(door)
    names = {(t, w): f'genre_door_refused_total{{transport="{t}",reason="{w}"}}' for t in ("http", "grpc") for w in Why}
    assert set(names.values()) <= set(found)
    large = LARGEST_MB * MB + 1
    for body, headers, why in (
        (b"[" * 500, {}, Why.NESTED),
        (b'{"shape":[-1]}', {}, Why.SHAPE),
        (b'{"classification"', {}, Why.NOT_JSON),
        (b"{}", {LENGTH: "3"}, Why.JSON_LENGTH),
        (bytes(2 * MB), {}, Why.JSON_TOO_LARGE),
        (bytes(large), {LENGTH: "0"}, Why.TOO_LARGE),
        (b"no gzip" * 9, {"Content-Encoding": "gzip"}, Why.BODY),
        (b'{"outputs":[{"name":"LABEL","parameters":{"classification":3}}]}', {}, Why.CLASSIFICATION),
    ):
        door.refusal(INFER, body, headers)
        assert refused(door, "http", why) == found[names["http", why]] + 1, why
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        for message, why in ((wants("LABEL"), Why.CLASSIFICATION), (bytes(large), Why.BODY)):
            with pytest.raises(grpc.RpcError):
                ask(message, timeout=20)
            assert refused(door, "grpc", why) == found[names["grpc", why]] + 1, why


def test_a_half_sent_grpc_message_is_refused_when_the_memory_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        used = [100 * MB]
        monkeypatch.setattr(door_room, "memory", lambda: used[0])
        room, port = Room(10 * MB, 5), free_port()
        door = GrpcDoor("127.0.0.1:1", "", 8 * MB, room)
        await door.start("127.0.0.1", port)
        watching = asyncio.create_task(room.watch())
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half_message(MB))
        await holds(lambda: room.clients["grpc"] == 1)
        await asyncio.sleep(3 * door_room.LOOK_SECONDS)
        assert room.refused["grpc", Why.MEMORY] == 0  # there is room: it takes what time it takes
        used[0] += 11 * MB + door_room.OWN_BYTES
        await holds(lambda: room.refused["grpc", Why.MEMORY] == 1)
        await holds(lambda: room.clients["grpc"] == 0)
        writer.close()
        watching.cancel()
        await door.stop(0)

    asyncio.run(scene())


async def holds(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def half_message(size: int) -> bytes:
    """The beginning of a call of ModelInfer, by HTTP/2: a message that says its size, and a little of it."""
    headers = {":method": "POST", ":scheme": "http", ":path": f"{SERVICE}/ModelInfer", ":authority": "door",
               "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    block = b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in headers.items()
    )
    data = b"\0" + size.to_bytes(4, "big") + bytes(1000)
    frames = ((4, 0, 0, b""), (1, 4, 1, block), (0, 0, 1, data))  # SETTINGS, HEADERS, DATA
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(
        len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
        for kind, flags, stream, content in frames
    )


def request(**fields: Any) -> Any:
    return pb.ModelInferRequest(model_name="toy", raw_input_contents=[b"classification" * 9], **fields)


def test_the_word_is_looked_for_outside_of_the_audio_wherever_else_it_stands() -> None:
    plain = request().SerializeToString()
    asking = pb.ModelInferRequest.FromString(wants("LABEL")).SerializeToString()
    raw = re.escape(b"\x3a\x7e" + b"classification" * 9)
    assert re.search(raw, plain)
    assert not speaks_of_classes(plain)
    assert not speaks_of_classes(b"")
    for message in (
        plain + asking, asking + plain, request(id="classification").SerializeToString(),
        b"\xba\x00\x0e" + CLASSIFICATION,  # a field written otherwise than usual,
        b"\x3a\xff" + CLASSIFICATION,  # one that is longer than the message,
        b"\x3a\x80\x80\x80\x80\x80\x00" + CLASSIFICATION,  # a length that is none,
        b"\x3a\x00" * 100 + asking,  # and very many of them
    ):  # fmt: skip
        assert speaks_of_classes(message), message
