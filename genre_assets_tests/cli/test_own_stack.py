"""A command acts on no stack but its own, whoever listens on the ports."""

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets.stack.configuration import configure
from genre_assets.stack.supervision.run_files import lock_file, state_file
from genre_assets_tests.cli.test_messages import COMMAND, folder

__all__ = ["folder"]  # the fixture

STRANGERS = ("DAGSTER", "S3", "POSTGRES", "TRITON_HTTP", "TRITON_GRPC", "MLFLOW")
ACTING = [
    ["run"],
    ["promote", "champion", "--reason", "r"],
    ["rollback", "1", "--reason", "r"],
    ["ingest", "music"],
    ["predict", "music"],
    ["review", "list.csv"],
    ["backfill"],
    ["history"],
    ["alerts"],
    ["windows"],
    ["quarantine"],
]


@pytest.fixture
def strangers() -> Iterator[dict[str, int]]:
    """Somebody listens on every port of the stack; nobody may connect. By the name of the port's variable."""
    listeners = {f"GENRE_{name}_PORT": socket.create_server(("127.0.0.1", 0)) for name in STRANGERS}
    yield {name: listener.getsockname()[1] for name, listener in listeners.items()}
    for listener in listeners.values():
        listener.settimeout(0)
        with listener, pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("configured", [False, True], ids=["empty folder", "stack that is down"])
def test_a_command_acts_on_no_stack_but_its_own(folder: Path, strangers: dict[str, int], *, configured: bool) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    outside = {**kept, "GENRE_HOME": str(folder / "home"), **{name: str(port) for name, port in strangers.items()}}
    if configured:
        with pytest.MonkeyPatch.context() as patch:
            for name, port in strangers.items():
                patch.setenv(name, str(port))
            configure(folder / "home")
    for arguments in ACTING:
        done = subprocess.run(
            [COMMAND, *arguments], cwd=folder, env=outside, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2, arguments
        assert f"no stack runs in {folder / 'home'}" in done.stderr, (arguments, done.stderr)
        assert "genre-assets up" in done.stderr
    found = subprocess.run([COMMAND, "status", "--json"], env=outside, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    services = json.loads(found.stdout)["services"]
    assert {service["light"] for service in services.values()} == {"unhealthy"}
    assert "no supervisor runs: genre-assets up" in services["dagster"]["why"]


def test_a_port_that_a_stranger_took_from_a_service_that_is_away_is_not_this_stacks(folder: Path) -> None:
    home = folder / "home"
    with socket.create_server(("127.0.0.1", 0)) as stranger, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRE_DAGSTER_PORT", str(stranger.getsockname()[1]))
        configure(home)
        lock_file(home).parent.mkdir()
        standing = {"state": "restarting", "why": "port taken", "pid": None, "restarts": 1}
        state_file(home).write_text(
            json.dumps({"pid": os.getpid(), "looked_at": time.time(), "services": {"dagster": standing}})
        )
        with lock_file(home).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outside = {name: value for name, value in os.environ.items() if name != "GENRE_DAGSTER_PORT"}
            outside["GENRE_HOME"] = str(home)
            done = subprocess.run([COMMAND, "run"], env=outside, capture_output=True, text=True, timeout=60)
            found = subprocess.run(
                [COMMAND, "status", "--json"], env=outside, capture_output=True, text=True, timeout=60
            )
    assert done.returncode == 2
    assert f"is not of the stack in {home}, whose own is restarting" in done.stderr
    services = json.loads(found.stdout)["services"]
    assert services.pop("supervisor")["light"] == "healthy"
    assert services["dagster"]["why"] == "restarting: port taken"
    assert {service["light"] for service in services.values()} == {"unhealthy"}
