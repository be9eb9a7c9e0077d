"""A door whose server is away, and one that dies or is stopped itself."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets_tests.conftest import running
from genre_assets_tests.triton.door import SERVICE, Door, door_settings, process_of
from genre_assets_tests.triton.inner import Inner
from genre_assets_tests.waiting import until


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
