"""What the door counts of requests for answers: whose fault it was that there was none, and how long the others took."""

import contextlib
from http.client import HTTPConnection

import grpc
import pytest

from genre_assets_tests.observability.programs import check_names, scraped, value
from genre_assets_tests.triton.door import SERVICE, Door, door, nested, pb
from genre_assets_tests.triton.inner import SLOW
from genre_assets_tests.waiting import until

__all__ = ["door"]  # the fixture

INFER = "/v2/models/genre_ensemble/infer"
MESSAGE = bytes(pb.ModelInferRequest(model_name="genre_ensemble", id="one").SerializeToString())


def counted(door: Door, transport: str, outcome: str) -> float:
    text = scraped(f"http://{door.settings.triton_http}/metrics")
    return value(text, "genre_door_requests_total", transport=transport, outcome=outcome) or 0.0


def test_every_outcome_is_counted_from_0_and_the_names_are_after_the_rules(door: Door) -> None:
    text = scraped(f"http://{door.settings.triton_http}/metrics")
    check_names(text)
    for transport in ("http", "grpc"):
        for outcome in ("answered", "client_error", "cancelled", "busy", "triton_away", "deadline_exceeded", "failed"):
            assert value(text, "genre_door_requests_total", transport=transport, outcome=outcome) == 0
        assert value(text, "genre_door_request_seconds_bucket", transport=transport, le="+Inf") == 0


def test_answers_are_timed_and_clients_faults_are_theirs(door: Door) -> None:
    door.http("POST", INFER, b"{}")  # what stands for the server answers 418
    assert door.http("POST", INFER, nested(200))[0] == 400
    assert counted(door, "http", "client_error") == 2
    door.http("POST", "/v2/models/other/infer", b"{}")
    door.http("GET", "/v2/models/genre_ensemble/ready")
    assert counted(door, "http", "client_error") == 2, "these ask nothing of the ensemble"
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        ask(MESSAGE, timeout=10)
        ask(bytes(pb.ModelInferRequest(model_name="predictor").SerializeToString()), timeout=10)
    text = scraped(f"http://{door.settings.triton_http}/metrics")
    assert value(text, "genre_door_request_seconds_count", transport="grpc") == 1
    assert 0 < (value(text, "genre_door_request_seconds_sum", transport="grpc") or 0) < 10
    assert counted(door, "grpc", "answered") == 1


def test_a_client_that_gives_up_and_one_whose_time_is_over_are_told_apart(door: Door) -> None:
    connection = HTTPConnection(door.settings.triton_http, timeout=20)
    connection.request("POST", INFER, SLOW)
    until(lambda: door.inner.sent[-1].body == SLOW, "it has arrived", 10)
    connection.close()
    until(lambda: counted(door, "http", "cancelled") == 1, "counted", 10)
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        calls = len(door.inner.calls)
        future = ask.future(MESSAGE + SLOW, timeout=30)
        until(lambda: len(door.inner.calls) > calls, "it has arrived", 10)
        future.cancel()
        until(lambda: counted(door, "grpc", "cancelled") == 1, "counted", 10)
        with pytest.raises(grpc.RpcError):
            ask(MESSAGE + SLOW, timeout=1)
    until(lambda: counted(door, "grpc", "deadline_exceeded") + counted(door, "grpc", "cancelled") == 2, "counted", 10)


def test_a_server_that_is_away_is_nobody_elses_fault(door: Door) -> None:
    door.inner.stop()
    assert door.http("POST", INFER, b"{}")[0] == 503
    with door.channel() as channel, contextlib.suppress(grpc.RpcError):
        channel.unary_unary(f"{SERVICE}/ModelInfer")(MESSAGE, timeout=10)
    assert counted(door, "http", "triton_away") == 1
    assert counted(door, "grpc", "triton_away") == 1
