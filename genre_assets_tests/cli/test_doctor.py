"""`genre-assets doctor`: what is wrong is named with what to do, and nothing is changed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from genre_assets.processes import MARKER
from genre_assets.stack.configuration import ports_for
from genre_assets_tests.conftest import free_port
from genre_assets_tests.live import COMMAND


def doctor(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The command, with every port of the stack free unless another is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    ports = {name: str(free_port()) for name in ports_for(0)}
    outside = {**kept, **ports, "GENRE_HOME": str(home), **settings}
    return subprocess.run([COMMAND, "doctor", *arguments], env=outside, capture_output=True, text=True, timeout=120)


def found(done: "subprocess.CompletedProcess[str]") -> dict[str, list[dict[str, str]]]:
    """The findings that are not ok, by their subject."""
    listed: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.stdout):
        if one["level"] != "ok":
            listed.setdefault(one["subject"], []).append(one)
    return listed


def test_a_machine_that_is_well_is_told_so_and_stays_as_it_is(tmp_path: Path) -> None:
    done = doctor(tmp_path / "home", GENRE_WINDOW_SICE="3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       ports: all are free" in done.stdout
    assert "warning  settings: GENRE_WINDOW_SICE is no setting\n         Did you mean GENRE_WINDOW_SIZE?" in done.stdout
    assert not (tmp_path / "home").exists()


def test_a_taken_port_open_secrets_and_leftovers_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("GENRE_WINDOW_SIZ='4'\n")
    (tmp_path / "stack.env").chmod(0o644)
    sleeping = [sys.executable, "-c", "import time; time.sleep(300)"]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(sleeping, env={**os.environ, MARKER: str(tmp_path)}) as left,
    ):
        port = listener.getsockname()[1]
        try:
            done = doctor(tmp_path, "--json", GENRE_MLFLOW_PORT=str(port))
        finally:
            alive = left.poll() is None
            left.kill()
    assert done.returncode == 1
    assert alive
    told = found(done)
    (taken,) = told["ports"]
    assert f"port {port} on 127.0.0.1 is taken by process {os.getpid()}" in taken["seen"]
    assert "GENRE_MLFLOW_PORT" in taken["do"]
    assert f"process {left.pid}" in told["leftovers"][0]["seen"]
    assert "genre-assets down" in told["leftovers"][0]["do"]
    assert told["state folder"][0]["do"] == f"chmod 600 {tmp_path / 'stack.env'}"
    assert told["settings"][0]["seen"] == "GENRE_WINDOW_SIZ is no setting"


@pytest.mark.parametrize(
    ("settings", "subject", "seen"),
    [({"GENRE_WINDOW_SIZE": "many"}, "settings", "GENRE_WINDOW_SIZE='many'"), ({"GENRE_HOME": "/dev/null/x"}, "state folder", "cannot be")],
    ids=["a bad value", "no folder"],
)  # fmt: skip
def test_what_prevents_a_start_is_a_problem(tmp_path: Path, settings: dict[str, str], subject: str, seen: str) -> None:
    done = doctor(tmp_path, "--json", **settings)
    assert done.returncode == 1, done.stderr
    assert seen in found(done)[subject][0]["seen"]
    assert found(done)[subject][0]["do"]
