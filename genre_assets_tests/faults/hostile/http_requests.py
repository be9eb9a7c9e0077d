"""Malformed requests over HTTP: frames, bodies, JSON, lengths, addresses."""

import gzip
import json
import random
from typing import Any

from genre_assets.triton.protocol import AUDIO, ENSEMBLE, ERROR, LABEL, POST_PROCESSOR, PRE_PROCESSOR, PREDICTOR
from genre_assets_tests.faults.hostile.wire import INNER, SHAPES, TEXTS, Hostile, Maker, Wire, tensor
from genre_assets_tests.serving.toys import clip

INFER = f"/v2/models/{ENSEMBLE}/infer"
LENGTHS = ("-1", "0", "1", "9" * 30, "abc", "", "0x10", "1, 2", "4294967296", "-9223372036854775808")
SIZES = (-1, 0, 1, 3, 5, 2**31, 2**32, 2**63, "7", None, 1.5)
PATHS = (
    "/v2/models/../../etc/passwd", "/v2/models/%2e%2e%2f%2e%2e/infer", "/v2/models/%00/infer", "/v2/models//infer", "//", "/v2//",
    f"/v2/models/{ENSEMBLE}/versions/-1/infer", f"/v2/models/{ENSEMBLE}/versions/99999999999999999999/infer",
    f"/v2/models/{ENSEMBLE}/versions/1/../infer", "/v2/models/" + "a" * 7000 + "/infer", "*", "http://elsewhere/v2", "/v2/health/ready?" + "a=" * 900,
    f"/v2/models/{ENSEMBLE}/generate", f"/v2/models/{ENSEMBLE}/generate_stream", "/v2/models/stats", "/metrics",
)  # fmt: skip
ADMIN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v2/repository/models/genre_ensemble/unload", {}), ("/v2/repository/models/genre_ensemble/load", {"parameters": {"config": "{}"}}),
    ("/v2/repository/models/x/load", {"parameters": {"config": "{}", "file:../../x": "AAAA"}}), ("/v2/repository/index", {"ready": 1}),
    ("/v2/systemsharedmemory/region/x/register", {"key": "/../x", "offset": -1, "byte_size": 2**63}),
    ("/v2/trace/setting", {"trace_file": "/etc/x"}), ("/v2/logging", {"log_file": "/etc/x", "log_verbose_level": 9}),
)  # fmt: skip


def http(body: bytes, path: str = INFER, *, method: str = "POST", **headers: str) -> Wire:
    """A request whose frame is right, whatever is in it."""
    lines = {"Host": "triton", "Connection": "close", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Wire(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogatepass") + body)


def asked(chance: random.Random, **changes: Any) -> tuple[dict[str, Any], bytes]:
    """A sound request, JSON and binary data, with some of its entries changed."""
    data = tensor(clip(chance.randrange(20), seconds=1.0))
    given = {"name": AUDIO, "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in (LABEL, ERROR)]
    request = {"id": "hostile", "inputs": [given], "outputs": outputs}
    for name, value in changes.items():
        (given if name in given else request)[name] = value
    return request, data


def sent(chance: random.Random, **changes: Any) -> Wire:
    """The same over HTTP."""
    request, data = asked(chance, **changes)
    head = json.dumps(request).encode()
    return http(head + data, Inference_Header_Content_Length=str(len(head)))


def _http_types(chance: random.Random) -> Hostile:
    return sent(chance, datatype=chance.choice(("FP32", "INT64", "", "bytes", 5, None, "x" * 9000)))


def _http_sizes(chance: random.Random) -> Hostile:
    return sent(chance, parameters={"binary_data_size": chance.choice(SIZES)})


def _http_header_length(chance: random.Random) -> Hostile:
    request, data = asked(chance)
    head = json.dumps(request).encode()
    length = chance.choice((*LENGTHS, str(len(head) + chance.randint(-40, 40)), str(len(head + data) + 1)))
    return http(head + data, Inference_Header_Content_Length=length)


def _http_length_prefix(chance: random.Random) -> Hostile:
    request, data = asked(chance)
    head = json.dumps(request).encode()
    data = chance.choice((0, 1, len(data), 2**31, 2**32 - 1)).to_bytes(4, "little") + data[4:]
    return http(head + data, Inference_Header_Content_Length=str(len(head)))


def _http_json_data(chance: random.Random) -> Hostile:
    data = chance.choice(([], [1], [None], [["a", ["b"]]], "text", {"a": 1}, ["a"] * 20, [True], ["\0"], [1e308]))
    given = {"name": AUDIO, "shape": [1, 1], "datatype": "BYTES", "data": data}
    return http(json.dumps({"inputs": [given]}).encode())


def _http_entries(chance: random.Random) -> Hostile:
    given = {"name": AUDIO, "shape": [1, 1], "datatype": "BYTES", "data": ["s3://genre-raw/none"]}
    change: dict[str, Any] = chance.choice(
        (
            {"inputs": []}, {"inputs": None}, {"inputs": [given, given]}, {"inputs": given}, {"inputs": [given] * 300},
            {"inputs": [given], "outputs": [{"name": "NONE"}]}, {"inputs": [given], "outputs": [{"name": LABEL}] * 100},
            {"inputs": [given], "outputs": [{"name": LABEL, "parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 9}}]},
            {"inputs": [{**given, "parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 2**60}}]},
            {"inputs": [given], "parameters": {"sequence_id": -1, "sequence_start": 5}}, {"inputs": [given], "parameters": {"priority": -1}},
            {"inputs": [given], "parameters": {"timeout": -1}}, {"inputs": [given], "parameters": {"binary_data_output": 7}},
            {"inputs": [{**given, "name": "FEATURES"}]}, {"inputs": [given], "parameters": []},
        )
    )  # fmt: skip
    return http(json.dumps(change).encode())


def _http_classes(chance: random.Random) -> Hostile:
    count = chance.choice((1, 3, 0, -1, 2**40, "3"))
    name = chance.choice((LABEL, ERROR, "MODEL", "PROBABILITIES", "VERSION"))
    return sent(chance, outputs=[{"name": name, "parameters": {"classification": count}}])


def _http_escaped_classes(chance: random.Random) -> Hostile:
    request, data = asked(chance, outputs=[{"name": LABEL, "parameters": {"classification": 1}}])
    head = json.dumps(request).replace("classification", "\\u0063lassification").encode()
    return http(head + data, Inference_Header_Content_Length=str(len(head)))


def _http_deep(chance: random.Random, deepest: int = 100_000) -> Hostile:
    depth, opening = chance.choice((70, 1000, 20_000, deepest)), chance.choice(("[", '{"a":'))
    paths = (
        INFER,
        f"/v2/models/{ENSEMBLE}/generate",
        "/v2/repository/index",
        f"/v2/models/{INNER[PRE_PROCESSOR]}/infer",
    )
    return http(('{"inputs":' + opening * depth).encode(), chance.choice(paths))


def _http_chunks(chance: random.Random) -> Hostile:
    request, data = asked(chance)
    body = json.dumps(request).encode() + data
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body[:20_000])
    return Wire(_chunked_head() + pieces + b"0\r\n\r\n")


def _http_chunk_flood(chance: random.Random) -> Hostile:
    return Wire(_chunked_head() + b"1\r\n \r\n" * chance.choice((300_000, 500_000)) + b"0\r\n\r\n")


def _http_bad_chunks(chance: random.Random) -> Hostile:
    piece = chance.choice(
        (b"-1\r\nx\r\n", b"zz\r\n", b"ffffffffffffffff\r\nx", b"5\r\nab", b"1;" + b"a" * 9000 + b"\r\nx\r\n")
    )
    return Wire(_chunked_head() + piece, whole=False)


def _chunked_head() -> bytes:
    return f"POST {INFER} HTTP/1.1\r\nHost: triton\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def _http_frames(chance: random.Random) -> Hostile:
    sound = sent(chance).data
    return chance.choice(
        (
            Wire(sound[: chance.randrange(1, len(sound))], whole=False),
            Wire(sound.replace(b"Content-Length: ", b"Content-Length: 9", 1), whole=False),
            Wire(sound.replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nContent-Length: ", 1), whole=False),
            Wire(sound.replace(b"Content-Length: ", b"Content-Length: -", 1), whole=False),
            Wire(sound.replace(b" HTTP/1.1", b" HTTP/9.9", 1), whole=False),
            Wire(sound.replace(b"Host: triton", b"Host: tri\0ton", 1), whole=False),
            Wire(chance.randbytes(chance.randint(1, 3000)), whole=False),
            Wire(b"GET /v2 HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", whole=False),
            Wire(b"GET /v2 HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", whole=False),
        )
    )


def _http_paths(chance: random.Random) -> Hostile:
    method = chance.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"))
    return http(b"{}" if method == "POST" else b"", chance.choice(PATHS), method=method)


def _http_packed(chance: random.Random) -> Hostile:
    body = chance.choice(
        (b"rubbish", gzip.compress(b"[" * 30_000), gzip.compress(b"{}")[:-6], b"", gzip.compress(b"{}") * 50)
    )
    return http(body, Content_Encoding=chance.choice(("gzip", "deflate", "br", "gzip, gzip", "x")))


def _http_bomb(chance: random.Random) -> Hostile:
    return http(gzip.compress(bytes(chance.choice((8, 24)) * 2**20)), Content_Encoding="gzip")


def _http_damaged(chance: random.Random) -> Hostile:
    request, data = asked(chance)
    head = bytearray(json.dumps(request).encode())
    for _ in range(chance.randint(1, 6)):
        head[chance.randrange(len(head))] = chance.randrange(256)
    return http(bytes(head) + data, Inference_Header_Content_Length=str(len(head)))


def _http_admin(chance: random.Random) -> Hostile:
    path, body = chance.choice(ADMIN)
    return http(json.dumps(body).encode(), path, admin_token=chance.choice(("", "guessed", "token" * 900)))


def _http_giant_shapes(chance: random.Random) -> Hostile:
    shape = chance.choice(([1, 1, 2**40], [-2, -(2**39)], [2**32, 2**32], [1, 2**62], [1, 1, 10**6]))
    given = {
        "name": chance.choice(("FEATURES", AUDIO)),
        "shape": shape,
        "datatype": chance.choice(("FP32", "INT64", "BOOL", "BYTES")),
    }
    text = json.dumps({"inputs": [{**given, "data": [0.5] * 3}]})
    if chance.random() < 0.3:
        text = text.replace("shape", "sh\\u0061pe")
    return http(text.encode(), f"/v2/models/{chance.choice((ENSEMBLE, INNER[PREDICTOR], INNER[POST_PROCESSOR]))}/infer")


def _http_inner_models(chance: random.Random) -> Hostile:
    shape = chance.choice(([1, 3, 9], [1, 1, 2**40], [0, 0, 0]))
    given = {"name": "FEATURES", "shape": shape, "datatype": "FP32", "data": [0.5] * 27}
    return http(
        json.dumps({"inputs": [given]}).encode(),
        f"/v2/models/{chance.choice((INNER[PREDICTOR], INNER[POST_PROCESSOR]))}/infer",
    )


KINDS: dict[str, Maker] = {
    "HTTP: shapes": lambda chance: sent(chance, shape=chance.choice(SHAPES)),
    "HTTP: types": _http_types,
    "HTTP: sizes of binary data": _http_sizes,
    "HTTP: lengths of the JSON": _http_header_length,
    "HTTP: lengths of items": _http_length_prefix,
    "HTTP: data in JSON": _http_json_data,
    "HTTP: inputs, outputs, parameters": _http_entries,
    "HTTP: ids (NUL, surrogates, numbers)": lambda chance: sent(chance, id=chance.choice((*TEXTS, 5, None, ["a"]))),
    "HTTP: classes of text (ended Triton)": _http_classes,
    "HTTP: classes of text in escapes (ended Triton)": _http_escaped_classes,
    "HTTP: deep JSON (ended Triton)": _http_deep,
    "HTTP: thousands of pieces": _http_chunks,
    "HTTP: damaged pieces": _http_bad_chunks,
    "HTTP: damaged frames, half requests": _http_frames,
    "HTTP: paths and methods": _http_paths,
    "HTTP: packed bodies": _http_packed,
    "HTTP: damaged JSON": _http_damaged,
    "HTTP: administration without the token": _http_admin,
    "HTTP: inner models": _http_inner_models,
    "HTTP: shapes of more than was sent (ended Triton)": _http_giant_shapes,
}
HEAVY: dict[str, Maker] = {
    "HTTP: hundreds of thousands of pieces (ended Triton)": _http_chunk_flood,
    "HTTP: JSON a million levels deep (ended Triton)": lambda chance: _http_deep(chance, 1_000_000),
    "HTTP: ids of 10 MB": lambda chance: sent(chance, id="x" * (10 * 2**20)),
    "HTTP: packed bodies that swell": _http_bomb,
}
