"""Whom the keeper restarts: not who is wrong because of another, or of a suspended machine; and nothing ends the keeper."""

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.dagster import DagsterCode
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.log_files import append
from genre_assets.stack.supervision.service import Health
from genre_assets_tests.stack.supervision.test_keeper import Small, kept, settings
from genre_assets_tests.waiting import until

__all__ = ["kept", "settings"]  # fixtures


class Dependent(Small):
    """Wrong as long as it is told to be."""

    wrong_seconds = 1.0
    light_seconds = 0.1
    wrong = False

    def health(self) -> Health:
        return Health(healthy=False, why="its database is away") if self.wrong else super().health()


def test_a_service_that_is_wrong_because_of_another_is_not_restarted(settings: Settings) -> None:
    service, needed = Dependent(settings, "one", needs=("base",)), [True]
    keeper = Keeper(service, ready=lambda _: needed[0], changed=lambda: None)
    keeper.start()
    try:
        until(lambda: keeper.standing.state == "healthy", "healthy")
        needed[0], service.wrong = False, True
        until(lambda: keeper.standing.state == "unhealthy", "shown as unhealthy")
        time.sleep(3 * service.wrong_seconds)  # that nothing happens can only be waited for
        assert keeper.standing.restarts == 0
        needed[0] = True  # the other is back and this one is still wrong: now it is its own fault
        until(lambda: keeper.standing.restarts == 1, "restarted", 20)
    finally:
        keeper.end()
        keeper.join(15)


def test_whatever_the_tending_raises_the_service_comes_back(
    settings: Settings, kept: Callable[[Small], Keeper]
) -> None:
    class Tended(Small):
        broken = True

        def tend(self, pid: int) -> None:
            del pid
            if self.broken:
                self.broken = False
                raise KeyError("a fault of our own")

    keeper = kept(Tended(settings, "one"))
    until(lambda: keeper.standing.restarts == 1 and keeper.standing.state == "healthy", "restarted", 30)
    assert keeper.standing.last_restart == "KeyError: 'a fault of our own'"


KEEPER = """
import sys, time
from pathlib import Path
from genre_assets.settings import load_settings
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets_tests.stack.supervision.test_keeper import Small
service = Small(load_settings(Path(sys.argv[1])), "one")
keeper = Keeper(service, ready=lambda _: True, changed=lambda: None)
keeper.start()
while True:
    print(keeper.standing.state, keeper.standing.pid, keeper.standing.restarts, flush=True)
    time.sleep(0.1)
"""


def test_a_suspend_of_everything_restarts_nothing(tmp_path: Path) -> None:
    """As `systemctl suspend` or a paused container does: the services are stopped and continued, and their keeper too."""
    process = subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = iter(process.stdout)
    keeper, service = psutil.Process(process.pid), None
    try:
        service = psutil.Process(int(next(line for line in said if line.startswith("healthy")).split()[1]))
        service.suspend()
        time.sleep(1.5)  # the keeper has seen it stopped
        keeper.suspend()
        time.sleep(5.0)
        keeper.resume()
        time.sleep(0.5)
        service.resume()
        end = time.monotonic() + 5.0
        last = next(line for line in said if time.monotonic() > end)
        assert last.split() == ["healthy", str(service.pid), "0"]
    finally:
        keeper.kill()
        if service is not None and service.is_running():
            for member in (*service.children(recursive=True), service):
                member.kill()
        process.communicate()


def test_the_code_server_is_not_blamed_for_a_webserver_that_hangs(tmp_path: Path) -> None:
    """A restart of it would end its runs, so its light must not be overdue."""
    with socket.create_server(("127.0.0.1", 0)) as code, socket.create_server(("127.0.0.1", 0)) as web:
        ports = {"dagster_code_port": code.getsockname()[1], "dagster_port": web.getsockname()[1]}
        service = DagsterCode(load_settings(tmp_path, **ports))
        began = time.monotonic()
        assert service.health().healthy
        assert time.monotonic() - began < service.light_deadline - 0.5


def test_a_log_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        log = tmp_path / "logs" / "one.log"
        append(log).close()
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        log.chmod(0o644)
        append(log).close()
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
    finally:
        os.umask(before)
