"""A door as the process that it is, before a server that keeps what reaches it."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.triton.inner import Inner

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


def wants(name: str) -> bytes:
    request = pb.ModelInferRequest(model_name="toy")
    request.outputs.add(name=name).parameters["classification"].int64_param = 3
    return bytes(request.SerializeToString())


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
