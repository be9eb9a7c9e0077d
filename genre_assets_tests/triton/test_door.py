"""The door as the process that it is: what it passes on and back, and what it keeps from a server behind it."""

import gzip
import json
import os
import zlib
from http.client import HTTPConnection

import pytest

from genre_assets.triton.door.rules import DEEPEST, LARGEST_JSON
from genre_assets_tests.triton.door import INFER, LARGEST_MB, LENGTH, SERVICE, Door, door, nested
from genre_assets_tests.waiting import until

__all__ = ["door"]  # the fixture


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
