"""What holds of each client, by threads and with asyncio, over gRPC and HTTP: one contract, asked of all four."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.triton.client.aio import AsyncGenreClient
from genre_assets.triton.client.core import ClientCore, Describe, Infer, Pause, Plan, Step
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.client.wire import Batch, Transport

Items = Sequence[bytes | str]
Ask = Callable[..., list[Prediction]]


def by_threads(address: str, transport: Transport, items: Items, deadline_s: float, **asked: Any) -> list[Prediction]:
    with GenreClient(address, transport=transport, deadline_s=deadline_s) as client:
        return client.predict(items, **asked)


def with_asyncio(address: str, transport: Transport, items: Items, deadline_s: float, **asked: Any) -> list[Prediction]:
    async def predict() -> list[Prediction]:
        async with AsyncGenreClient(address, transport=transport, deadline_s=deadline_s) as client:
            return await client.predict(items, **asked)

    return asyncio.run(predict())


every_client = pytest.mark.parametrize("ask", [by_threads, with_asyncio])
every_transport = pytest.mark.parametrize("transport", ["grpc", "http"])


@contextmanager
def breaking() -> Iterator[tuple[str, list[float]]]:
    """The address of a server that hangs up on whoever has said something, and when it did."""
    hung_up: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    hung_up.append(time.monotonic())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", hung_up
        finally:
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join(10)


@every_client
@every_transport
def test_a_connection_that_breaks_is_tried_again_until_the_deadline(ask: Ask, transport: Transport) -> None:
    with (
        breaking() as (address, hung_up),
        pytest.raises(TransientFailure, match=rf"Triton at {address} did not answer"),
    ):
        ask(address, transport, [b"x"], 0.5)
    assert hung_up


@every_client
@every_transport
def test_nobody_at_the_address_is_given_up_at_the_deadline(ask: Ask, transport: Transport) -> None:
    started = time.monotonic()
    with pytest.raises(TransientFailure, match=r"Triton at 127\.0\.0\.1:1 did not answer"):
        ask("127.0.0.1:1", transport, [b"x"], 0.5)
    assert 0.2 < time.monotonic() - started < 4


class Answered:
    """An answer to one item as the libraries give it, of a release with this version of the label set."""

    def __init__(self, label_set: str) -> None:
        text = {"LABEL": b"jazz", "MODEL": b"linear", "ERROR": b"", "LABEL_SET": label_set.encode()}
        self.columns = {name: np.array([[value]], dtype=object) for name, value in text.items()}
        self.columns |= {"PROBABILITIES": np.array([[0.75, 0.25]]), "VERSION": np.array([[3]])}

    def as_numpy(self, name: str) -> Any:
        return self.columns.get(name)


def described(label_set: str, *labels: str) -> dict[str, Any]:
    said = {"labels": json.dumps(labels), "label_set": label_set}
    return {"parameters": {name: {"string_value": value} for name, value in said.items()}, "max_batch_size": 4}


def followed(plan: Plan[Any], *came: Any) -> tuple[list[Step], Any]:
    """The steps of a plan, each of which comes to the next of these, and what the plan makes."""
    steps, waiting = [next(plan)], list(came)
    try:
        while waiting:
            one = waiting.pop(0)
            steps += [plan.throw(one) if isinstance(one, Exception) else plan.send(one)]
    except StopIteration as end:
        return steps, end.value
    return steps, None


def core() -> ClientCore:
    client = ClientCore("here", "grpc", deadline_s=60.0, batch=4, batch_mb=64.0, tag="")
    _, known = followed(client._described(), described("one", "rock", "pop"))
    assert known.labels == ["rock", "pop"]
    return client


def test_a_request_is_sent_again_under_its_id_after_a_pause_that_grows() -> None:
    batch = Batch((b"x",))
    away = InferenceServerException("away", status="StatusCode.UNAVAILABLE")
    steps, made = followed(core()._answered(batch), away, None, away, None, Answered("one"))
    first, pause, second, longer, third = steps
    assert [one.batch for one in (first, second, third) if isinstance(one, Infer)] == [batch] * 3
    assert isinstance(pause, Pause)
    assert isinstance(longer, Pause)
    assert 0 < pause.seconds < longer.seconds
    (prediction,) = made
    assert (prediction.label, prediction.request_id) == ("jazz", batch.request_id)


def test_labels_of_a_release_that_comes_in_are_asked_for_until_they_are_told() -> None:
    batch, old, new = Batch((b"x",)), described("one", "rock", "pop"), described("two", "jazz", "folk")
    steps, made = followed(core()._answered(batch), Answered("two"), old, None, new, None)
    assert [type(step) for step in steps] == [Infer, Describe, Pause, Describe]
    assert made[0].probabilities == {"jazz": 0.75, "folk": 0.25}


def test_what_is_refused_is_not_asked_again() -> None:
    plan = core()._answered(Batch((b"x",)))
    next(plan)
    with pytest.raises(PermanentFailure, match="Triton at here did not answer"):
        plan.throw(InferenceServerException("no such input", status="StatusCode.INVALID_ARGUMENT"))
