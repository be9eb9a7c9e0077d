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
from typer.testing import CliRunner

from genre_assets.cli import app
from genre_assets.stack.configuration import configure
from genre_assets.stack.supervision.run_files import lock_file, state_file
from genre_assets_tests.cli.commands import not_among
from genre_assets_tests.cli.test_messages import COMMAND, folder

__all__ = ["folder"]  # the fixture

STRANGERS = ("DAGSTER", "S3", "POSTGRES", "TRITON_HTTP", "TRITON_GRPC", "MLFLOW")
ACTING = [
    "run", "batch", "promote champion --reason r", "rollback 1 --reason r", "ingest music", "ingest --table t.csv",
    "ingest --remove-tables", "predict music", "predict --batch s3://genre-raw/", "review list.csv",
    "review list.csv --take", "backfill", "history", "alerts", "windows", "quarantine", "migrate", "labels",
    "labels add polka", "labels rename jazz swing", "labels remove jazz", "report", "api-keys",
    "api-keys add x --scope predict", "api-keys revoke x", "backup kept",
]  # fmt: skip
LOCAL = {"up", "down", "demo", "env", "logs", "status", "gtzan", "extract", "doctor", "open", "restore"}
"""What is about this folder's stack, or about files alone."""


@pytest.fixture
def strangers() -> Iterator[dict[str, int]]:
    """Somebody listens on every port of the stack; nobody may connect. By the name of the port's variable."""
    listeners = {f"GENRE_{name}_PORT": socket.create_server(("127.0.0.1", 0)) for name in STRANGERS}
    yield {name: listener.getsockname()[1] for name, listener in listeners.items()}
    for listener in listeners.values():
        listener.settimeout(0)
        with listener, pytest.raises(BlockingIOError):
            listener.accept()


def test_no_command_is_forgotten() -> None:
    assert not_among(ACTING) == LOCAL


@pytest.mark.parametrize("configured", [False, True], ids=["empty folder", "stack that is down"])
def test_a_command_acts_on_no_stack_but_its_own(
    folder: Path, strangers: dict[str, int], monkeypatch: pytest.MonkeyPatch, *, configured: bool
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GENRE_HOME", str(folder / "home"))
    for name, port in strangers.items():
        monkeypatch.setenv(name, str(port))
    (folder / "t.csv").write_text("genre,a\nrock,1\n")
    if configured:
        configure(folder / "home")
    before = files(folder)
    for words in ACTING:
        done = CliRunner().invoke(app, words.split())
        assert done.exit_code == 2, (words, done.output)
        assert f"no stack runs in {folder / 'home'}" in " ".join(done.output.split()), (words, done.output)
        assert "genre-assets up" in done.output
        assert files(folder) == before, words
    found = subprocess.run([COMMAND, "status", "--json"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    services = json.loads(found.stdout)["services"]
    assert {service["light"] for service in services.values()} == {"unhealthy"}
    assert "no supervisor runs: genre-assets up" in services["dagster"]["why"]


def files(folder: Path) -> dict[Path, bytes | None]:
    """Every file and folder below, with what is in it."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


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
