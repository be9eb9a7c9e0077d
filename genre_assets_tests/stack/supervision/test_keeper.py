"""The supervisor's manners, on small processes: order, restarts, giving up, leaving nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from genre_assets.errors import BadInput
from genre_assets.processes import MARKER, kill, orphan_processes
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.supervision.keeper import STARTS_BEFORE_GIVING_UP, Keeper
from genre_assets.stack.supervision.run_files import state_file
from genre_assets.stack.supervision.service import Health, Service, check_port_free
from genre_assets.stack.supervisor import Supervisor
from genre_assets_tests.conftest import free_port
from genre_assets_tests.waiting import until

SERVER = """
import os, socket, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a child that would outlive its parent
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


class Small(Service):
    """A process that listens on a port and has a child of its own."""

    start_timeout = 20.0
    stop_timeout = 3.0

    def __init__(self, settings: Settings, name: str, needs: tuple[str, ...] = (), program: str = SERVER) -> None:
        super().__init__(settings)
        self.name = name
        self.needs = needs
        self.port = free_port()
        self.program = program
        self.events: list[str] = []

    @property
    def ports(self) -> dict[str, int]:
        return {"dagster_port": self.port}

    def command(self) -> list[str]:
        self.events.append("command")
        return [sys.executable, "-c", self.program, str(self.port)]

    def health(self) -> Health:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError as error:
            return Health(healthy=False, why=str(error))
        return Health(healthy=True)

    def started(self) -> None:
        self.events.append("started")

    def cleanup(self) -> None:
        self.events.append("cleanup")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


@pytest.fixture
def kept(settings: Settings) -> Iterator[Callable[[Small], Keeper]]:
    keepers: list[Keeper] = []

    def keep(service: Small) -> Keeper:
        keeper = Keeper(service, ready=lambda _: True, changed=lambda: None)
        keepers.append(keeper)
        keeper.start()
        return keeper

    yield keep
    for keeper in keepers:
        keeper.end()
        keeper.join(15)
    assert orphan_processes(settings.home) == []


def test_a_killed_service_is_restarted(settings: Settings, kept: Callable[[Small], Keeper]) -> None:
    keeper = kept(Small(settings, "one"))
    until(lambda: keeper.standing.state == "healthy", "healthy")
    first = keeper.standing.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: keeper.standing.state == "healthy" and keeper.standing.pid not in {None, first}, "healthy again")
    assert keeper.standing.restarts == 1


def test_a_halted_service_is_gone_until_it_may_go_on(settings: Settings, kept: Callable[[Small], Keeper]) -> None:
    keeper = kept(Small(settings, "one"))
    until(lambda: keeper.standing.state == "healthy", "healthy")
    first = keeper.standing.pid
    assert first is not None
    keeper.halt()
    assert not psutil.pid_exists(first)
    assert (keeper.standing.state, keeper.standing.pid) == ("starting", None), "nobody may take it for the old one"
    keeper.go_on()
    until(lambda: keeper.standing.state == "healthy", "healthy again")
    assert (keeper.standing.pid != first, keeper.standing.restarts) == (True, 0)


def test_what_is_done_once_after_the_start_is_done_once(settings: Settings, kept: Callable[[Small], Keeper]) -> None:
    service = Small(settings, "one")
    keeper = kept(service)
    until(lambda: keeper.standing.state == "healthy", "healthy")
    assert service.events == ["cleanup", "command", "started"]


def test_children_of_a_stopped_service_do_not_outlive_it(settings: Settings) -> None:
    keeper = Keeper(Small(settings, "one"), ready=lambda _: True, changed=lambda: None)
    keeper.start()
    until(lambda: keeper.standing.state == "healthy", "healthy")
    assert keeper.standing.pid is not None
    children = psutil.Process(keeper.standing.pid).children(recursive=True)
    assert children
    keeper.end()
    keeper.join(15)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_service_that_never_starts_is_given_up_with_its_reason(
    settings: Settings, kept: Callable[[Small], Keeper]
) -> None:
    keeper = kept(Small(settings, "one", program="raise SystemExit(7)"))
    until(lambda: keeper.standing.state == "failed", "failed", 60)
    assert "ended with 7" in keeper.standing.why
    assert "logs/one.log" in keeper.standing.why
    assert keeper.standing.restarts == STARTS_BEFORE_GIVING_UP - 1


def test_a_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"port {port} .*GENRE_DAGSTER_PORT.*GENRE_PORT_OFFSET"):
            check_port_free("127.0.0.1", port, "dagster_port")


def test_services_start_after_what_they_need_and_stop_in_reverse(settings: Settings) -> None:
    order: list[str] = []

    class Noted(Small):
        def command(self) -> list[str]:
            order.append(f"start {self.name}")
            return super().command()

        def cleanup(self) -> None:
            if f"start {self.name}" in order:
                order.append(f"stop {self.name}")

    supervisor = Supervisor([Noted(settings, "base"), Noted(settings, "top", needs=("base",))], settings.home)
    for keeper in supervisor.keepers:
        keeper.start()
    until(lambda: all(keeper.standing.state == "healthy" for keeper in supervisor.keepers), "all healthy")
    assert order == ["start base", "start top"]
    written = json.loads(state_file(settings.home).read_text())
    assert {name: service["state"] for name, service in written["services"].items()} == {
        "base": "healthy",
        "top": "healthy",
    }
    supervisor.stop()
    assert order[2:] == ["stop top", "stop base"]
    assert not state_file(settings.home).exists()


# Whatever the test process ignores or blocks, a child inherits; a orphan takes SIGTERM as any program does.
ORPHAN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
print("ready", flush=True)
time.sleep(600)
"""


def test_orphan_processes_of_a_killed_supervisor_are_found_and_ended(settings: Settings) -> None:
    orphan, other = (
        subprocess.Popen(
            [sys.executable, "-c", ORPHAN],
            env={**os.environ, MARKER: str(home)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for home in (settings.home, settings.home / "another")
    )
    try:
        for process in (orphan, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        assert [p.pid for p in orphan_processes(settings.home)] == [orphan.pid]
        kill(orphan_processes(settings.home))
        assert orphan.wait(5) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for process in (orphan, other):
            process.kill()
            process.communicate()
