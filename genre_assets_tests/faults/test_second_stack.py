"""A second, empty stack beside the first: it runs apart, says what it lacks, and leaves nothing when it goes."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from genre_assets.processes import orphan_processes
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services import graphql
from genre_assets.stack.supervision.run_files import supervisor_pid, written_state
from genre_assets.stack.supervision.service import Service
from genre_assets_tests.live import COMMAND, PORT_OFFSET, Stack, environment, logs
from genre_assets_tests.other_user import readable_by_others

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1200)]
SECOND = PORT_OFFSET + 300


@pytest.fixture(scope="module")
def second(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack that is up and has seen no audio, beside the session's."""
    home = tmp_path_factory.mktemp("second") / "home"
    done = command(home, "up")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs(home)}"
    yield load_settings(home)
    command(home, "down")


def command(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    outside = {**environment(home), "GENRE_PORT_OFFSET": str(SECOND), **settings}
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=outside, timeout=600)


def test_building_from_an_empty_bucket_says_what_to_do(second: Settings) -> None:
    done = command(second.home, "run")
    assert done.returncode == 1
    assert "genre-assets ingest" in done.stderr, done.stderr


def test_ingesting_a_folder_that_is_not_there_says_so(second: Settings, tmp_path: Path) -> None:
    done = command(second.home, "ingest", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert f"there is no folder {tmp_path / 'nowhere'}" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_predicting_before_anything_is_served_says_so(second: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"RIFF")
    done = command(second.home, "predict", str(file))
    assert done.returncode == 1
    assert "nothing is served yet; build with: genre-assets run" in done.stderr.replace("\n", " "), done.stderr


def test_no_other_user_can_read_what_the_stack_keeps(second: Settings) -> None:
    assert readable_by_others(second.home) == []
    shared = list(Path("/dev/shm").glob(f"genre_{second.triton_inner_http_port}_*"))
    assert [path for path in (*second.home.rglob("*"), *shared) if _is_open(path)] == []


def test_a_taken_port_stops_the_start_with_the_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outside = {
            **environment(tmp_path / "home"),
            "GENRE_MLFLOW_PORT": str(port),
            "GENRE_PORT_OFFSET": str(SECOND + 300),
        }
        done = subprocess.run([COMMAND, "up"], capture_output=True, text=True, env=outside, timeout=100)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "GENRE_MLFLOW_PORT" in done.stderr
    assert orphan_processes(tmp_path / "home") == []


def test_a_stopped_supervisor_is_shown_and_goes_on_with_up(second: Settings) -> None:
    pid = supervisor_pid(second.home)
    assert pid is not None
    before = written_state(second.home)["services"]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = command(second.home, "status", "--json")
        light = json.loads(found.stdout)["services"]["supervisor"]
        assert (found.returncode, light["light"]) == (1, "unhealthy")
        assert "is stopped (SIGSTOP), nothing is restarted: genre-assets up" in light["why"]
        done = command(second.home, "up")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    assert supervisor_pid(second.home) == pid
    after = written_state(second.home)["services"]
    assert {name: one["pid"] for name, one in after.items()} == {name: one["pid"] for name, one in before.items()}
    assert command(second.home, "status").returncode == 0


def test_settings_that_only_dagster_reads_restart_nothing_else(second: Settings) -> None:
    before, settings = written_state(second.home)["services"], graphql.metadata_of_job(second.dagster_url, "build")
    runs = [graphql.launch(second.dagster_url, "drift") for _ in range(3)]
    done = command(second.home, "up", GENRE_WINDOW_SIZE="40", GENRE_WINDOW_MINIMUM="40")
    assert done.returncode == 0, done.stderr
    assert "restarting Dagster's code server and daemon" in done.stderr
    assert graphql.metadata_of_job(second.dagster_url, "build") != settings, (
        "the webserver knows the new ones when `up` ends"
    )
    ended = [graphql.progress(second.dagster_url, run).status for run in runs]
    assert ended == ["SUCCESS"] * 3, "runs that wait or go on end first"
    after = written_state(second.home)["services"]
    changed = {name for name, one in after.items() if one["pid"] != before[name]["pid"]}
    assert changed == {"dagster-code", "dagster-daemon"}
    assert all(one["restarts"] == before[name]["restarts"] for name, one in after.items()), "nobody must look into it"
    assert load_settings(second.home).window_size == 40


def test_a_killed_supervisor_leaves_a_stack_that_comes_up_again(second: Settings) -> None:
    pid = supervisor_pid(second.home)
    assert pid is not None
    os.kill(pid, 9)
    done = command(second.home, "up")
    assert done.returncode == 0, done.stderr
    assert supervisor_pid(second.home) not in {None, pid}


def test_down_leaves_no_process_no_port_and_no_shared_memory(second: Settings, stack: Stack) -> None:
    from genre_assets.stack.services.catalogue import services

    listening: list[Service] = services(second)
    done = command(second.home, "down")
    assert done.returncode == 0, done.stderr
    assert orphan_processes(second.home) == []
    assert not [p for p in psutil.process_iter() if str(second.home) in " ".join(_arguments(p))]
    for port in (port for service in listening for port in service.ports.values()):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
    assert not list(Path("/dev/shm").glob(f"*{second.triton_inner_http_port}*"))
    assert stack.json("status", "--json")["route"] == "champion"  # the first stack did not notice


def _is_open(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) and bool(mode & 0o077)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
