"""The door as the process that it is: what it passes on and back, and what it keeps from a server behind it."""

import gzip
import json
import os
import signal
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.triton.door.rules import DEEPEST, LARGEST_JSON
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.triton.inner import Inner
from genre_assets_tests.waiting import until

INFER = "/v2/models/toy/infer"
SERVICE = "/inference.GRPCInferenceService"
LENGTH = "Inference-Header-Content-Length"
LARGEST_MB = 8
pb: Any = service_pb2


def door_settings(folder: Path, **more: object) -> Settings:
    http, grpc_port, inner_http, inner_grpc = (free_port() for _ in range(4))
    folder.mkdir(exist_ok=True)
    variables = {
        "TRITON_HTTP_PORT": http, "TRITON_GRPC_PORT": grpc_port,
        "TRITON_HTTP": f"127.0.0.1:{http}", "TRITON_GRPC": f"127.0.0.1:{grpc_port}",
        "TRITON_INNER_HTTP_PORT": inner_http, "TRITON_INNER_GRPC_PORT": inner_grpc,
        "TRITON_INNER_HTTP": f"127.0.0.1:{inner_http}", "TRITON_INNER_GRPC": f"127.0.0.1:{inner_grpc}",
        "TRITON_DOOR_KEY": "the-key", "DOOR_MAX_MB": LARGEST_MB, **more,
    }  # fmt: skip
    (folder / "stack.env").write_text("".join(f"GENRE_{name}={value}\n" for name, value in variables.items()))
    return load_settings(folder)


class Door:
    """A door that is open, and the server behind it."""

    def __init__(self, settings: Settings, inner: Inner) -> None:
        self.settings = settings
        self.inner = inner

    def http(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        connection = HTTPConnection(self.settings.triton_http, timeout=20)
        try:
            connection.request(method, path, body, headers or {}, **options)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def refusal(self, path: str, body: Any, headers: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
        """Status and reason of a request that must not reach the server."""
        before = len(self.inner.sent)
        status, _, said = self.http("POST", path, body, headers, **options)
        assert [sent for sent in self.inner.sent[before:] if sent.path == path] == []
        return status, json.loads(said)["error"]

    def channel(self) -> grpc.Channel:
        options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
        return grpc.insecure_channel(self.settings.triton_grpc, options=options)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    settings = door_settings(tmp_path_factory.mktemp("door"))
    with (
        Inner(settings.triton_inner_http_port, settings.triton_inner_grpc_port) as inner,
        running(TritonDoor(settings)),
    ):
        yield Door(settings, inner)


def nested(depth: int) -> bytes:
    return b'{"inputs":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_a_request_and_its_answer_pass_as_they_are(door: Door) -> None:
    given = {"traceparent": "00-1-2-01", "X-Own": "a", "door-key": "guessed", "Connection": "keep-alive, X-Hop", "X-Hop": "1"}  # fmt: skip
    status, headers, body = door.http("POST", "/v2/a%2Fb/../c?x=%20&y", b"{}", given)
    sent = door.inner.sent[-1]
    assert (sent.method, sent.path, sent.body) == ("POST", "/v2/a%2Fb/../c?x=%20&y", b"{}")
    assert (sent.headers["traceparent"], sent.headers["X-Own"], sent.headers["door-key"]) == (
        "00-1-2-01",
        "a",
        "the-key",
    )
    assert "X-Hop" not in sent.headers
    assert (status, headers["NV-Status"], json.loads(body)) == (418, "kept", {"bytes": 2})


def test_a_body_in_pieces_arrives_in_one_and_a_packed_one_plain(door: Door) -> None:
    body = b"{}" + os.urandom(3 * 2**20)
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert door.http("POST", INFER, pieces, {LENGTH: "2"}, encode_chunked=True)[0] == 418
    for packing, packed in (("gzip", gzip.compress(body, 1)), ("deflate", zlib.compress(body, 1))):
        assert door.http("POST", INFER, packed, {LENGTH: "2", "Content-Encoding": packing})[0] == 418
    for sent in door.inner.sent[-3:]:
        assert sent.body == body
        assert sent.headers["Content-Length"] == str(len(body))
        assert not {"Transfer-Encoding", "Content-Encoding"} & set(sent.headers)


def test_a_packed_answer_and_a_stream_of_events_pass(door: Door) -> None:
    _, headers, body = door.http("GET", "/v2/packed", headers={"Accept-Encoding": "gzip"})
    assert door.inner.sent[-1].headers["Accept-Encoding"] == "gzip"
    assert (headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", b"packed")
    _, headers, body = door.http("GET", "/v2/events")
    assert (headers["Content-Type"], body) == ("text/event-stream", b"data: 0\n\ndata: 1\n\ndata: 2\n\n")


def test_bodies_above_the_limit_are_refused_however_they_come(door: Door) -> None:
    large = bytes(LARGEST_MB * 2**20 + 1)
    pieces = (large[start : start + 2**16] for start in range(0, len(large), 2**16))
    for said in (
        door.refusal(INFER, large, {LENGTH: "2"}),
        door.refusal(INFER, pieces, {LENGTH: "2"}, encode_chunked=True),
        door.refusal(INFER, gzip.compress(bytes(64 * 2**20)), {LENGTH: "2", "Content-Encoding": "gzip"}),
    ):
        assert said == (413, "the body is larger than GENRE_DOOR_MAX_MB allows (8 MB): send fewer items at once")
    assert door.http("POST", INFER, large[:-1], {LENGTH: "2"})[0] == 418


def test_a_body_that_is_not_packed_as_it_says_is_refused(door: Door) -> None:
    status, why = door.refusal(INFER, b"no gzip at all" * 9, {"Content-Encoding": "gzip"})
    assert (status, why.startswith("the body is not what its headers say")) == (400, True)


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/v2/models/toy/generate"])
def test_deep_json_is_refused_wherever_it_is_sent(door: Door, path: str) -> None:
    for depth in (DEEPEST + 1, 200_000):
        status, why = door.refusal(path, nested(depth))
        assert (status, "nested deeper than 64 levels" in why) == (400, True)
    assert door.http("POST", path, nested(DEEPEST))[0] == 418


def test_deep_json_before_binary_data_is_refused_and_brackets_that_nest_nothing_are_not(door: Door) -> None:
    deep = nested(1000)
    assert door.refusal(INFER, deep + b"audio", {LENGTH: str(len(deep))})[0] == 400
    for flat in (b'["' + b"[{" * 500 + b'"]', b'["\\"' + b"[" * 500 + b'"]', b"[" + b"[]," * 50_000 + b"[]]"):
        assert door.http("POST", INFER, flat)[0] == 418
    assert door.http("POST", INFER, b"{}" + b"[" * 10_000, {LENGTH: "2"})[0] == 418
    # Behind a string that is over; the last one would hide the rest in another reading.
    assert door.refusal(INFER, b'["\\\\", ' + b"[" * 500)[0] == 400
    assert door.refusal(INFER, b"[" * 500 + b'"\\')[0] == 400


@pytest.mark.parametrize("length", ["-1", "3", "0x2", "2, 2", "", "9" * 30, "1e0", "+2"])
def test_a_length_of_the_json_that_is_none_is_refused(door: Door, length: str) -> None:
    status, why = door.refusal(INFER, b"{}", {LENGTH: length})
    assert (status, why.startswith(f"{LENGTH} must be one number of bytes, at most the body's 2")) == (400, True)


def test_very_long_json_is_refused_with_the_way_to_send_it(door: Door) -> None:
    status, why = door.refusal(INFER, b'{"id":"' + b"x" * LARGEST_JSON + b'"}')
    assert (status, "send audio as binary data" in why) == (413, True)


@pytest.mark.parametrize(
    "shape",
    [
        "[1, 1, 1099511627776]",
        "[-2,-549755813888]",
        "[ 4294967296 , 4294967296 ]",
        "[100]",
        "[-1]",
        "[18446744073709551617]",
    ],
)
@pytest.mark.parametrize("key", ["shape", "sh\\u0061pe"])
def test_a_shape_of_more_than_was_sent_is_refused(door: Door, shape: str, key: str) -> None:
    text = f'{{"inputs":[{{"name":"A","{key}" : {shape},"data":[1]}}]}}'
    status, why = door.refusal(INFER, text.encode())
    assert (status, "more elements than the request has bytes" in why) == (400, True)


@pytest.mark.parametrize(
    "shape", ["[3, 1]", "[]", "[0, 1]", '["1"]', "[1.5]", "[[1099511627776]]", '"[1099511627776]"']
)
def test_other_shapes_are_tritons_affair(door: Door, shape: str) -> None:
    assert door.http("POST", INFER, f'{{"inputs":[{{"name":"A","shape":{shape},"data":[1]}}]}}'.encode())[0] == 418


def asked(name: str, key: str = "classification") -> str:
    return f'{{"outputs":[{{"name":"{name}","parameters":{{"{key}":3}}}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        asked("LABEL"),
        asked("LABEL", "\\u0063lassification"),
        asked("LABEL")[:-1] + ',"outputs":[]}',
        '{"outputs":[],' + asked("LABEL")[1:],
        '{"outputs":[{"name":"PROBABILITIES","name":"LABEL","parameters":{},"parameters":{"classification":1}}]}',
        asked("LABEL")[:-1] + ',"id":"\x01\ufffd"}',
    ],
)
def test_classes_of_a_text_output_are_refused_however_they_are_written(door: Door, text: str) -> None:
    status, why = door.refusal(INFER, text.encode())
    assert status == 400
    assert why == "the output 'LABEL' is text and has no classes: ask for it without the parameter classification"


@pytest.mark.parametrize(
    "text", [asked("PROBABILITIES"), asked("none"), '{"id":"classification"}', '{"classification":1}']
)
def test_classes_of_numbers_pass_and_so_does_the_mere_word(door: Door, text: str) -> None:
    assert door.http("POST", INFER, text.encode())[0] == 418


def test_what_is_no_json_but_speaks_of_classes_is_refused(door: Door) -> None:
    assert door.refusal(INFER, b'{"classification"')[0] == 400


def test_addresses_that_are_none_are_refused(door: Door) -> None:
    assert door.http("OPTIONS", "*")[0] == 400
    assert door.http("GET", f"http://{door.settings.triton_http}/v2")[0] == 400


def test_a_client_that_hangs_up_is_not_worked_for(door: Door) -> None:
    door.inner.cancelled.clear()
    connection = HTTPConnection(door.settings.triton_http, timeout=20)
    connection.request("GET", "/v2/slow")
    until(lambda: door.inner.sent[-1].path == "/v2/slow", "it has arrived", 10)
    connection.close()
    assert door.inner.cancelled.wait(10)
    door.inner.cancelled.clear()
    with door.channel() as channel:
        call = channel.unary_unary(f"{SERVICE}/ModelConfig").future(b"", timeout=60)
        until(lambda: any(path.endswith("ModelConfig") for path, *_ in door.inner.calls), "it has arrived", 10)
        call.cancel()
        assert door.inner.cancelled.wait(10)


def test_a_grpc_call_passes_with_its_metadata_its_deadline_and_what_comes_back(door: Door) -> None:
    given = (("traceparent", "00-1"), ("x-bin", b"\x00\xff"), ("triton-grpc-protocol-door-key", "guessed"))
    message = b"x" * 3_000_000
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        answer, call = ask.with_call(message, timeout=30, metadata=given, compression=grpc.Compression.Gzip)
        path, arrived, metadata, left = door.inner.calls[-1]
        assert (path, arrived, answer) == (f"{SERVICE}/ModelInfer", message, b"answer:" + message[:10])
        assert (metadata["traceparent"], metadata["x-bin"]) == ("00-1", b"\x00\xff")
        assert metadata["triton-grpc-protocol-door-key"] == "the-key"
        assert left is not None
        assert 20 < left < 30.5
        assert ("initial", "kept") in [tuple(pair) for pair in call.initial_metadata()]
        assert ("trailing", "kept") in [tuple(pair) for pair in call.trailing_metadata()]
        ask(b"", wait_for_ready=True)
        assert door.inner.calls[-1][3] is None


def test_grpc_failures_pass_with_status_details_and_metadata(door: Door) -> None:
    with door.channel() as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"{SERVICE}/ModelStatistics")(b"", timeout=10)
        assert (error.value.code(), error.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such model")
        assert ("why", "kept") in [tuple(pair) for pair in error.value.trailing_metadata()]
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"{SERVICE}/ModelConfig")(b"", timeout=0.5)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for path in (f"{SERVICE}/Nothing", "/other.Service/ModelInfer"):
            with pytest.raises(grpc.RpcError) as error:
                channel.unary_unary(path)(b"", timeout=10)
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_grpc_message_above_the_limit_is_refused(door: Door, compression: grpc.Compression) -> None:
    before = len(door.inner.calls)
    with door.channel() as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(f"{SERVICE}/ModelInfer")(bytes(LARGEST_MB * 2**20 + 1), timeout=20, compression=compression)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [call for call in door.inner.calls[before:] if call[0].endswith("ModelInfer")] == []


def wants(name: str) -> bytes:
    request = pb.ModelInferRequest(model_name="toy")
    request.outputs.add(name=name).parameters["classification"].int64_param = 3
    return bytes(request.SerializeToString())


def test_classes_of_a_text_output_are_refused_over_grpc_and_those_of_numbers_pass(door: Door) -> None:
    with door.channel() as channel:
        ask, stream = channel.unary_unary(f"{SERVICE}/ModelInfer"), channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        for refused in (
            lambda: ask(wants("LABEL"), timeout=10),
            lambda: list(stream(iter([wants("LABEL")]), timeout=10)),
        ):
            before = len(door.inner.calls)
            with pytest.raises(grpc.RpcError) as error:
                refused()
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "the output 'LABEL' is text and has no classes" in (error.value.details() or "")
            assert [call[0] for call in door.inner.calls[before:] if "Infer" in call[0].rpartition("/")[2]] == []
        assert ask(wants("PROBABILITIES"), timeout=10)
        with pytest.raises(grpc.RpcError) as error:
            ask(b"classification", timeout=10)
        assert "not a ModelInferRequest" in (error.value.details() or "")


def test_a_stream_passes_message_by_message(door: Door) -> None:
    with door.channel() as channel:
        call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter([b"one", b"two"]), timeout=20)
        assert list(call) == [b"answer:one", b"answer:two"]
        assert ("trailing", "kept") in [tuple(pair) for pair in call.trailing_metadata()]


def test_while_the_server_is_away_the_door_says_so_at_once_and_it_passes_again_when_it_is_back(tmp_path: Path) -> None:
    settings = door_settings(tmp_path / "home")
    ports = settings.triton_inner_http_port, settings.triton_inner_grpc_port
    with Inner(*ports) as inner, running(TritonDoor(settings)):
        door = Door(settings, inner)
        assert door.http("GET", "/v2")[0] == 418
        with door.channel() as channel:
            ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
            assert ask(b"x", timeout=10)
            inner.stop()
            began = time.monotonic()
            status, _, body = door.http("GET", "/v2")
            assert (status, "try again" in json.loads(body)["error"]) == (503, True)
            with pytest.raises(grpc.RpcError) as error:
                ask(b"x", timeout=60)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert time.monotonic() - began < 20  # no client's deadline is waited out
            with Inner(*ports):
                assert door.http("GET", "/v2")[0] == 418
                until(lambda: _answers(ask), "gRPC is connected again", 20)


def _answers(ask: Any) -> bool:
    try:
        return bool(ask(b"x", timeout=5))
    except grpc.RpcError:
        return False


def test_a_door_that_is_killed_or_stopped_opens_again_and_its_key_is_in_no_command_line(tmp_path: Path) -> None:
    settings = door_settings(tmp_path / "home")
    with (
        Inner(settings.triton_inner_http_port, settings.triton_inner_grpc_port) as inner,
        running(TritonDoor(settings)),
    ):
        door = Door(settings, inner)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            pid = process_of(settings)
            assert "the-key" not in Path(f"/proc/{pid}/cmdline").read_text()
            os.kill(pid, number)
            until(lambda pid=pid: process_of(settings) not in {0, pid}, "another process", 30)  # type: ignore[misc]
            until(lambda: _passes(door), "it is open", 30)


def _passes(door: Door) -> bool:
    try:
        return door.http("GET", "/v2")[0] == 418
    except OSError:
        return False


def process_of(settings: Settings) -> int:
    """Process id of the door of these settings."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = b"genre_assets.triton.door" in (folder / "cmdline").read_bytes()
            if ours and f"GENRE_HOME={settings.home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue
    return 0
