"""The parity gate's scratch server: killed with its build it leaves nothing, and nobody else can use it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.processes import MARKER, orphan_processes
from genre_assets.triton.control import TritonControl
from genre_assets.triton.leftovers import remove_orphans
from genre_assets.triton.protocol import ENSEMBLE
from genre_assets.triton.scratch import scratch_triton
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.waiting import until

BUILD = """
import sys, time
from pathlib import Path
from genre_assets.triton.scratch import scratch_triton
with scratch_triton(Path(sys.argv[1]), sys.argv[2]) as server:
    print(server.pid, server.listen.http, flush=True)
    time.sleep(600)
"""
TEMPORARY = Path("/tmp")
SHARED_MEMORY = Path("/dev/shm")


def leftovers() -> set[Path]:
    return {*TEMPORARY.glob("python_env_*"), *TEMPORARY.glob("genre-triton-*"), *SHARED_MEMORY.glob("genre_*")}


def test_a_killed_build_leaves_no_server_and_no_file(live: LiveStack, tmp_path: Path) -> None:
    remove_orphans()
    before = leftovers()
    repository = live.settings.repository
    command = [sys.executable, "-c", BUILD, str(repository), ENSEMBLE]
    environment = {**os.environ, MARKER: str(tmp_path)}
    build = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert build.stdout is not None
    pid, port = map(int, build.stdout.readline().split())
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    assert server in orphan_processes(tmp_path)  # `down` would end it
    build.send_signal(signal.SIGKILL)
    build.wait()
    build.stdout.close()
    until(lambda: not any(process.is_running() and process.status() != "zombie" for process in family), "all gone", 30)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    assert leftovers() - before  # what the next start, `up` and `down` find
    remove_orphans()
    assert leftovers() == before


def test_a_scratch_server_takes_orders_from_its_maker_alone(live: LiveStack) -> None:
    with scratch_triton(live.settings.repository, ENSEMBLE) as server:
        for token in ("scratch", ""):
            with pytest.raises(PermanentFailure, match="refused"):
                TritonControl(f"127.0.0.1:{server.listen.http}", token).index()
        assert server.control.index()
        said = Path(f"/proc/{server.pid}/cmdline").read_text()
    assert re.findall(r"admin-token=(\**)", said) == ["*" * 32] * 2


def test_the_token_of_the_live_server_is_not_among_its_arguments(live: LiveStack) -> None:
    live.control.load(ENSEMBLE)  # the token itself is in force
    port = f"--http-port={live.settings.triton_inner_http_port}"
    [pid] = [p.pid for p in psutil.process_iter() if port in _arguments(p)]
    until(lambda: "-of-the-tests" not in Path(f"/proc/{pid}/cmdline").read_text(), "token and door key are hidden", 20)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
