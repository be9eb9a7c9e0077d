"""Those who send: a client that asks honestly at a steady rate, and one that is hostile and notes how it was answered."""

import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from genre_assets.triton.protocol import AUDIO, ENSEMBLE, ERROR, LABEL
from genre_assets_tests.faults.hostile.wire import Call, Hostile, Wire

PAUSE_SECONDS = 0.04  # between two questions of the honest client
PATIENCE_SECONDS = 30.0
SERVICE = "/inference.GRPCInferenceService"
UNANSWERED = "no answer"


def texts(items: list[bytes]) -> Any:
    return np.array(items, dtype=object).reshape(-1, 1)


@dataclass
class Honest:
    """What an honest client got: seconds of each answer, and each item that was not answered as it should be."""

    seconds: list[float] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    answered: int = 0  # items, for the prediction log


@contextmanager
def honest_client(grpc_address: str, http_address: str, clips: dict[bytes, str], prefix: str) -> Iterator[Honest]:
    """Asks one clip after the other, by both transports in turn, until the end of the block; it never asks twice."""
    got, ending = Honest(), threading.Event()

    def run() -> None:
        clients = [
            (tritonclient.grpc, tritonclient.grpc.InferenceServerClient(grpc_address)),
            (
                tritonclient.http,
                tritonclient.http.InferenceServerClient(http_address, network_timeout=PATIENCE_SECONDS),
            ),
        ]
        items = list(clips.items())
        number = 0
        while not ending.wait(PAUSE_SECONDS):
            number += 1
            library, client = clients[number % 2]
            _ask(library, client, items[number % len(items)], f"{prefix}{number}", got)
        for _, client in clients:
            client.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield got
    finally:
        ending.set()
        thread.join()


def _ask(library: Any, client: Any, asked: tuple[bytes, str], request_id: str, got: Honest) -> None:
    item, label = asked
    tensor = library.InferInput(AUDIO, [1, 1], "BYTES").set_data_from_numpy(texts([item]))
    limit = {"client_timeout": PATIENCE_SECONDS} if library is tritonclient.grpc else {}
    began = time.perf_counter()
    try:
        answer = client.infer(ENSEMBLE, [tensor], request_id=request_id, **limit)
    except (InferenceServerException, OSError) as error:
        got.harmed.append(f"{request_id}: {error}"[:300])
        return
    got.seconds.append(time.perf_counter() - began)
    got.answered += 1
    given = answer.as_numpy(LABEL).item().decode()
    if given != label:
        got.harmed.append(f"{request_id}: {given!r} instead of {label!r}, {answer.as_numpy(ERROR).item()!r}")


@dataclass
class Hostility:
    """What became of what was sent: how often each kind was answered how."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    harmed: list[str] = field(default_factory=list)  # honest items in the same request
    companions: int = 0

    def note(self, kind: str, outcome: str) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1


def send_items(
    client: Any, items: list[tuple[str, bytes]], companion: tuple[bytes, str], at: int, seen: Hostility
) -> None:
    """Hostile items in one request with an honest one at place `at`, which must be answered as if alone."""
    data = [item for _, item in items]
    data.insert(at, companion[0])
    tensor = tritonclient.grpc.InferInput(AUDIO, [len(data), 1], "BYTES").set_data_from_numpy(texts(data))
    seen.companions += 1
    try:
        answer = client.infer(ENSEMBLE, [tensor], request_id=str(uuid.uuid4()), client_timeout=PATIENCE_SECONDS)
    except InferenceServerException as error:
        seen.harmed.append(f"a whole request failed: {error}"[:300])
        for kind, _ in items:
            seen.note(f"item: {kind}", UNANSWERED)
        return
    errors = [text.decode() for text in answer.as_numpy(ERROR).reshape(-1)]
    label = answer.as_numpy(LABEL).reshape(-1)[at].decode()
    if (errors.pop(at), label) != ("", companion[1]):
        seen.harmed.append(f"an honest item between {[kind for kind, _ in items]}: {label!r}")
    for (kind, _), text in zip(items, errors, strict=True):
        seen.note(f"item: {kind}", text.partition(":")[0] or "answered")


def send(hostile: Hostile, channel: grpc.Channel, http_address: str) -> str:
    """How a malformed request was answered: a status, `closed`, or not at all."""
    return _wire(hostile, http_address) if isinstance(hostile, Wire) else _call(hostile, channel)


def _wire(wire: Wire, address: str) -> str:
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
            with suppress(ConnectionError):  # refused while it is still being sent
                connection.sendall(wire.data)
            if not wire.whole:
                connection.settimeout(0.3)
            try:
                said = connection.recv(4096)
            except ConnectionError:
                return "closed"
            except TimeoutError:
                return UNANSWERED if wire.whole else "left half-way"
    except OSError:
        return UNANSWERED
    words = said.split(b" ", 2)
    return words[1].decode(errors="replace") if len(words) > 1 else "closed"


def _call(call: Call, channel: grpc.Channel) -> str:
    path = f"{SERVICE}/{call.method}"
    ask: Callable[[], object]
    if call.method == "ModelStreamInfer":
        ask = lambda: list(channel.stream_stream(path)(iter(call.messages), timeout=PATIENCE_SECONDS))  # noqa: E731
    else:
        ask = lambda: channel.unary_unary(path)(call.messages[0], timeout=PATIENCE_SECONDS)  # noqa: E731
    try:
        ask()
    except grpc.RpcError as error:
        code = error.code()
        return UNANSWERED if code is grpc.StatusCode.DEADLINE_EXCEEDED else str(code.name)
    return "OK"
