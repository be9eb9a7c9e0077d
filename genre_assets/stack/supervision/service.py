"""What a local service is: how it is prepared, started, asked after its health, tended and cleaned up.

One subclass for each server lives in `stack/services/`. A service knows nothing of the other services; order and
restarts are the supervisor's business.
"""

import os
import signal
import socket
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.stack.supervision.log_files import append


@dataclass(frozen=True)
class Health:
    """Whether a service does its work now, and why (not). `known` is false where nobody can tell."""

    healthy: bool
    why: str = ""
    known: bool = True


class Service:
    """Base of the local services. `ports` maps a setting's name to the port that it gives."""

    name: str
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 15.0
    start_timeout: float = 90.0
    light_seconds: float = 5.0  # between two questions after its health
    light_deadline: float = 10.0  # for one answer
    wrong_seconds: float = 30.0  # not healthy for longer, it is restarted
    contained = False  # alone in a container: the services that it asks are elsewhere, at the addresses in the settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def log(self) -> Path:
        """The file that takes what the process prints."""
        return Path("/dev/stdout") if self.contained else self.settings.home / "logs" / f"{self.name}.log"

    def output(self) -> BufferedWriter:
        """What the process prints goes here: its log file, or the output of this process, which is the container's log."""
        return os.fdopen(os.dup(1), "wb") if self.contained else append(self.log)

    @property
    def ports(self) -> dict[str, int]:
        """Ports that the service listens on, by the name of their setting."""
        return {}

    def addresses(self) -> dict[str, str]:
        """Where a person or a client finds the service, for `genre-assets status`."""
        return {}

    def prepare(self) -> None:
        """Do what must be done before each start (idempotent)."""

    def command(self) -> list[str]:
        """The process to run, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables on top of this process's own."""
        return {}

    def health(self) -> Health:
        """Ask the service itself; answers within a few seconds."""
        raise NotImplementedError

    def started(self) -> None:
        """Do what must be done once after the service became healthy."""

    def tend(self, pid: int) -> None:
        """Look after the running process; called about once a second. Raises `GenreError` if it must be restarted."""

    def tend_stopped(self, leader: int, pids: list[int]) -> bool:
        """Whether the service must be restarted because these of its processes were stopped for seconds."""
        return bool(leader and pids)

    def cleanup(self) -> None:
        """Remove what a killed process leaves behind; called when no process of the service runs."""


def with_path(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment with `folder` first on its PATH."""
    return {**environment, "PATH": f"{folder}{os.pathsep}{environment.get('PATH', os.environ.get('PATH', ''))}"}


def check_port_free(host: str, port: int, setting: str) -> None:
    """Raise `BadInput` that names the setting to change if another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"port {port} on {host} cannot be used ({error.strerror}): another program has it. "
                f"Set GENRE_{setting.upper()} to a free port, or GENRE_PORT_OFFSET to move all ports (a multiple of 10 up to 890)"
            ) from None


def http_health(url: str, timeout: float = 3.0) -> Health:
    """Healthy when the address answers 200."""
    try:
        with urlopen(url, timeout=timeout) as answer:  # noqa: S310  # the address is our own setting
            return Health(answer.status == 200, "" if answer.status == 200 else f"{url} answered {answer.status}")
    except (URLError, OSError, ValueError) as error:
        return Health(healthy=False, why=f"{url} does not answer: {getattr(error, 'reason', error)}")
