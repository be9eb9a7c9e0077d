"""Dagster in three processes: the code server, the webserver (UI and GraphQL) and the daemon (sensors, queue)."""

import shutil
import socket
import sys
import time
from pathlib import Path

from genre_assets.errors import TransientFailure
from genre_assets.processes import descendants
from genre_assets.settings import Settings
from genre_assets.shipped.files import data_file
from genre_assets.stack.supervision.service import Health, Service, http_health

CHILDLESS_SECONDS = 3.0  # it is without one for a moment when the code is loaded again


class _DagsterProcess(Service):
    needs: tuple[str, ...] = ("postgres", "s3")
    stop_timeout = 25.0

    @property
    def folder(self) -> Path:
        """DAGSTER_HOME of the stack."""
        return self.settings.home / "dagster"

    def prepare(self) -> None:
        """Put the instance's configuration into DAGSTER_HOME."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_file("dagster.yaml"), self.folder / "dagster.yaml")

    def environment(self) -> dict[str, str]:
        """What dagster.yaml and workspace.yaml read."""
        s = self.settings
        return {
            "DAGSTER_HOME": str(self.folder),
            "GENRE_DAGSTER_DATABASE_URL": s.dagster_database_url.get_secret_value(),
            "GENRE_DAGSTER_CODE_HOST": s.dagster_code_host or s.host,
            "GENRE_DAGSTER_CODE_PORT": str(s.dagster_code_port),
            # One thread for each native library: parallelism is by process, inside the assets.
            "OMP_NUM_THREADS": "1",
        }

    @property
    def url(self) -> str:
        """Where the webserver is asked from here."""
        return (
            self.settings.dagster_url if self.contained else f"http://{self.settings.host}:{self.settings.dagster_port}"
        )

    def workspace(self) -> list[str]:
        return ["-w", str(data_file("workspace.yaml"))]


class DagsterCode(_DagsterProcess):
    """Serves the definitions and starts the runs."""

    name = "dagster-code"
    wrong_seconds = 60.0  # it is asked through the webserver, which has to notice a restart first

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._childless_since: float | None = None

    @property
    def ports(self) -> dict[str, int]:
        """The gRPC port of the definitions."""
        return {"dagster_code_port": self.settings.dagster_code_port}

    def command(self) -> list[str]:
        """The code server."""
        return [
            _script("dagster"), "code-server", "start", "-h", self.settings.host,
            "-p", str(self.settings.dagster_code_port), "-m", "genre_assets.definitions",
        ]  # fmt: skip

    def health(self) -> Health:
        """Healthy when it makes the plan of a run, asked through the webserver; by its port while that is not up."""
        from genre_assets.stack.services.graphql import launch_problem

        try:
            host = (self.contained and self.settings.dagster_code_host) or self.settings.host
            socket.create_connection((host, self.settings.dagster_code_port), timeout=2).close()
        except OSError as error:
            return Health(healthy=False, why=f"port {self.settings.dagster_code_port}: {error}")
        problem = launch_problem(self.url)
        return Health(healthy=problem is None, why=problem or "")

    def tend(self, pid: int) -> None:
        """Restart it when the child is gone that holds the definitions: it starts no other by itself."""
        now = time.monotonic()
        if _has_child(pid, "api grpc"):
            self._childless_since = None
            return
        self._childless_since = self._childless_since or now
        if now - self._childless_since > CHILDLESS_SECONDS:
            self._childless_since = None
            raise TransientFailure("its child, which holds the definitions, is gone")


class DagsterWeb(_DagsterProcess):
    """The UI."""

    name = "dagster"
    wrong_seconds = 90.0  # a restart of it cannot help while the code server is away, and must not come between
    needs = ("dagster-code",)

    @property
    def ports(self) -> dict[str, int]:
        """The UI's port."""
        return {"dagster_port": self.settings.dagster_port}

    def addresses(self) -> dict[str, str]:
        """The UI."""
        return {"url": self.url}

    def command(self) -> list[str]:
        """The webserver."""
        where = ["-h", self.settings.host, "-p", str(self.settings.dagster_port)]
        return [sys.executable, "-m", "genre_assets.stack.webserver", *self.workspace(), *where]

    def health(self) -> Health:
        """Healthy when the definitions are loaded, with the loader's message when they are not."""
        from genre_assets.stack.services.graphql import code_location_problem

        answers = http_health(f"{self.addresses()['url']}/server_info")
        if not answers.healthy:
            return answers
        problem = code_location_problem(self.addresses()["url"])
        return Health(healthy=problem is None, why=problem or "")


class DagsterDaemon(_DagsterProcess):
    """Sensors, automation and the run queue."""

    name = "dagster-daemon"
    wrong_seconds = 90.0
    needs = ("dagster",)

    def command(self) -> list[str]:
        """The daemon."""
        return [_script("dagster-daemon"), "run", *self.workspace()]

    def health(self) -> Health:
        """Healthy when every daemon beats and every sensor that is on has ticked lately."""
        from genre_assets.stack.services.graphql import daemon_problem, sensor_problem

        problem = daemon_problem(self.url) or sensor_problem(self.url)
        return Health(healthy=problem is None, why=problem or "")


def _has_child(pid: int, words: str) -> bool:
    return any(words in arguments and state != "Z" for _, state, arguments in descendants(pid))


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
