"""Lights: a question that hangs or breaks is an answer too, and a status is there in time."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.supervision import keeper as keeping
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.lights import Light, ask_all
from genre_assets.stack.supervision.service import Health
from genre_assets_tests.stack.supervision.test_keeper import Small, kept, settings
from genre_assets_tests.waiting import until

__all__ = ["kept", "settings"]  # fixtures

# Takes connections in its child; the parent lives on when the child is gone.
TWO = """
import os, signal, socket, subprocess, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
pid = os.fork()
while pid == 0:
    connection = listener.accept()[0]
    connection.sendall(b"here")
    connection.close()
listener.close()
time.sleep(600)
"""


class Answering(Small):
    """Healthy when the child answers, not only when the port takes connections."""

    wrong_seconds = 3.0
    light_seconds = 0.3

    def health(self) -> Health:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return Health(connection.recv(4) == b"here")
        except OSError as error:
            return Health(healthy=False, why=str(error))


def test_a_question_that_hangs_is_unknown_and_one_that_breaks_is_unhealthy() -> None:
    release = threading.Event()

    def hangs() -> Health:
        release.wait(60)
        return Health(healthy=True)

    def breaks() -> Health:
        raise ValueError("no")

    began = time.monotonic()
    found = ask_all({"fine": lambda: Health(True), "hangs": hangs, "breaks": breaks}, 0.5)
    assert time.monotonic() - began < 5
    assert found["fine"] == Health(True)
    assert (found["hangs"].healthy, found["hangs"].known) == (False, False)
    assert (found["breaks"].known, found["breaks"].why) == (True, "ValueError: no")
    light = Light(hangs, interval=0.1, deadline=0.2)
    until(lambda: (seen := light.seen()) is not None and not seen.health.known, "unknown while it hangs", 10)
    release.set()
    until(lambda: (seen := light.seen()) is not None and seen.health.healthy, "healthy when it answers", 10)
    light.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_service_whose_child_does_the_work_is_restarted_with_it(
    settings: Settings, kept: Callable[[Small], Keeper], number: signal.Signals
) -> None:
    keeper = kept(Answering(settings, "two", program=TWO))
    until(lambda: keeper.standing.state == "healthy", "healthy")
    assert keeper.standing.pid is not None
    first = psutil.Process(keeper.standing.pid)
    until(lambda: len(first.children()) == 1, "it has its child")
    first.children()[0].send_signal(number)
    until(lambda: keeper.standing.restarts == 1 and keeper.standing.state == "healthy", "restarted", 40)
    assert keeper.standing.pid != first.pid
    assert not first.is_running()
    assert keeper.standing.last_restart


def test_a_stopped_service_is_restarted(settings: Settings, kept: Callable[[Small], Keeper]) -> None:
    keeper = kept(Small(settings, "one"))
    until(lambda: keeper.standing.state == "healthy", "healthy")
    assert keeper.standing.pid is not None
    os.kill(keeper.standing.pid, signal.SIGSTOP)
    until(lambda: keeper.standing.restarts == 1 and keeper.standing.state == "healthy", "restarted", 40)
    assert "was stopped" in keeper.standing.last_restart


def test_a_service_stopped_while_it_starts_is_restarted_long_before_its_start_timeout(
    settings: Settings, kept: Callable[[Small], Keeper]
) -> None:
    service = Small(settings, "one", program="import time; time.sleep(600)")  # starting, for as long as it lives
    keeper = kept(service)
    until(lambda: keeper.standing.pid is not None, "it has a process")
    assert keeper.standing.pid is not None
    os.kill(keeper.standing.pid, signal.SIGSTOP)
    until(lambda: "was stopped" in keeper.standing.last_restart, "restarted", service.start_timeout - 5)


def test_a_pause_of_the_whole_machine_restarts_nothing(settings: Settings, kept: Callable[[Small], Keeper]) -> None:
    service = Small(settings, "one")
    service.wrong_seconds = 2.0
    keeper = kept(service)
    until(lambda: keeper.standing.state == "healthy", "healthy")
    assert keeper.standing.pid is not None
    process = psutil.Process(keeper.standing.pid)
    process.suspend()
    time.sleep(keeping.STOPPED_SECONDS / 3)
    process.resume()
    time.sleep(2 * keeping.LOOK_SECONDS)
    assert (keeper.standing.restarts, keeper.standing.pid) == (0, process.pid)


def test_status_answers_in_time_though_everything_hangs(tmp_path: Path) -> None:
    """Every port takes connections, and none ever answers."""
    from genre_assets.stack.configuration import configure
    from genre_assets.stack.services.catalogue import services
    from genre_assets.stack.supervision.run_files import lock_file, state_file
    from genre_assets_tests.conftest import free_port
    from genre_assets_tests.live import COMMAND

    home = tmp_path / "home"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in type(load_settings(home)).model_fields if name.endswith("_port")]:
            patch.setenv(f"GENRE_{name.upper()}", str(free_port()))
        configured = configure(home)
    listeners = [
        socket.create_server(("127.0.0.1", port)) for service in services(configured) for port in service.ports.values()
    ]
    lock_file(home).parent.mkdir()
    standing = {"state": "healthy", "why": "", "pid": os.getpid(), "restarts": 0}
    state = {"pid": os.getpid(), "services": {service.name: standing for service in services(configured)}}
    state_file(home).write_text(json.dumps(state))
    lock = lock_file(home).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # as a supervisor does
    environment = {**os.environ, "GENRE_HOME": str(home)}
    subprocess.run([COMMAND, "status"], capture_output=True, env=environment, timeout=60)  # the disk's cache is warm
    began = time.monotonic()
    done = subprocess.run([COMMAND, "status"], capture_output=True, text=True, env=environment, timeout=60)
    seconds = time.monotonic() - began
    lock.close()
    for listener in listeners:
        listener.close()
    assert done.returncode == 1
    assert done.stdout.count("unknown") >= 6, done.stdout
    assert "│ healthy" not in done.stdout
    assert seconds < 6, f"{seconds:.1f} s"  # two on a quiet machine


def test_up_believes_no_state_of_a_supervisor_that_is_gone(tmp_path: Path) -> None:
    """The old state file says healthy; `up` must start a supervisor and wait for what it says."""
    from genre_assets.stack.configuration import configure
    from genre_assets.stack.supervision.run_files import lock_file, state_file, supervisor_pid

    configure(tmp_path)
    lock_file(tmp_path).parent.mkdir(exist_ok=True)
    lock_file(tmp_path).write_text("4242")
    state_file(tmp_path).write_text(
        json.dumps({"pid": os.getpid(), "services": {"s3": {"state": "healthy", "why": ""}}})
    )
    assert supervisor_pid(tmp_path) is None
    program = "import sys; from genre_assets.stack.supervision import run_files; print(run_files.supervisor_pid(__import__('pathlib').Path(sys.argv[1])))"
    held = "import fcntl, sys, time\nf = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); f.truncate(0); f.write('77'); f.flush(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", held, str(lock_file(tmp_path))], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
        assert said.stdout == "77\n"
    finally:
        holder.kill()
        holder.communicate()


def test_a_supervisor_that_hangs_is_unknown_in_status_and_replaced_by_up(tmp_path: Path) -> None:
    """A process that holds the supervisor's lock and looks at nothing; then `up`, which a taken port stops."""
    from genre_assets.stack.configuration import configure
    from genre_assets.stack.supervision.run_files import lock_file, state_file
    from genre_assets_tests.live import COMMAND

    home = tmp_path / "home"
    held = "import fcntl, os, sys, time\nf = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); f.truncate(0); f.write(str(os.getpid())); f.flush(); print('held', flush=True); time.sleep(100)"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRE_MLFLOW_PORT", str(taken.getsockname()[1]))
        configure(home)
        lock_file(home).parent.mkdir()
        outside = {**os.environ, "GENRE_HOME": str(home)}
        with subprocess.Popen([sys.executable, "-c", held, str(lock_file(home))], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            state_file(home).write_text(json.dumps({"pid": holder.pid, "looked_at": time.time() - 60, "services": {}}))
            shown = subprocess.run([COMMAND, "status", "--json"], env=outside, capture_output=True, text=True)
            said = subprocess.run([COMMAND, "up"], env=outside, capture_output=True, text=True, timeout=100)
            assert holder.wait(1) == -signal.SIGTERM
    light = json.loads(shown.stdout)["services"]["supervisor"]
    assert (light["light"], shown.returncode) == ("unknown", 1)
    assert "it has looked at no service for 6" in light["why"]
    assert "the supervisor hangs: starting it and the services anew" in said.stderr
    assert "GENRE_MLFLOW_PORT" in said.stderr
