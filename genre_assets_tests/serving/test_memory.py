"""Memory after large requests: a real Triton gives it back while clients ask, and none of them notices."""

import time
from pathlib import Path
from typing import Literal

import psutil
import pytest

from genre_assets.inference.request_log import read
from genre_assets.stack.services.triton_watchdog import load_anew
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.leftovers import shm_prefix
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_faults import fresh_log, load
from genre_assets_tests.serving.rollout.test_live import stub_processes
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack
__all__ = ["fresh_log"]  # a fixture of every test here too
LARGE = bytes(400 * 2**20)
ALLOWED = 1.3


def megabytes(live: LiveStack) -> float:
    """What the server and its python stubs hold: shared pages counted once, files in /dev/shm that nobody maps too."""
    port = str(live.settings.triton_inner_http_port)
    (server,) = (
        process
        for process in psutil.process_iter()
        if process.name() == "tritonserver" and f"--http-port={port}" in process.cmdline()
    )
    held = 0
    for process in (server, *server.children(recursive=True)):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        held += sum(1024 * int(line.split()[1]) for line in rollup if line.startswith(("Pss_Anon:", "Pss_File:")))
    shared = Path("/dev/shm").glob(f"{shm_prefix(live.settings.triton_inner_http_port)}*")
    return (held + sum(path.stat().st_blocks * 512 for path in shared)) / 2**20


@pytest.mark.parametrize("transport", ["grpc", pytest.param("http", marks=pytest.mark.long)])
def test_memory_comes_back_within_a_minute_of_a_large_item_while_clients_ask(
    live: LiveStack, transport: Literal["grpc", "http"]
) -> None:
    address = live.settings.triton_grpc if transport == "grpc" else live.settings.triton_http
    for number in range(20):  # every stub has answered, and has what it always keeps
        live.client.predict([clip(number)] * 4, log=False)
    with load(live, clients=2) as result, GenreClient(address, transport=transport, deadline_s=120) as client:
        time.sleep(3)
        before = steady(live)  # stubs of an earlier request may just be on their way out
        stubs = stub_processes(live)["pre_processor"]
        assert client.predict([LARGE], log=False)[0].error.startswith("request_too_large")
        assert megabytes(live) > before + 300
        end = time.monotonic() + 60
        while (now := steady(live)) > ALLOWED * before:
            assert time.monotonic() < end, f"{now:.0f} MB, before {before:.0f} MB"
        # The level may be reached while the last of them still answers.
        until(lambda: not stub_processes(live)["pre_processor"] & stubs, "all were replaced", 60)
    assert (result.failures, result.wrong) == ([], [])
    live.wait_until_logged()
    assert len(read(live.database)) == result.answered


def steady(live: LiveStack) -> float:
    """Looked at twice: stubs that come and go leave no moment's low, and may go while they are looked at."""
    looks: list[float] = []
    while len(looks) < 2:
        try:
            looks.append(megabytes(live))
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
        time.sleep(1)
    return max(looks)


def test_stubs_that_are_replaced_again_and_again_cost_no_answer_and_no_row(live: LiveStack) -> None:
    with load(live) as result:
        for _ in range(5):
            for model in ("pre_processor", "predictor", "post_processor"):
                load_anew(live.settings.repository, live.control, live.model(model))
                time.sleep(0.3)
    assert (result.failures, result.wrong) == ([], [])
    live.wait_until_logged()
    assert len(read(live.database)) == result.answered
