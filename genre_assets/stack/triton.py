"""Triton as a local service: the wheel's server over the released repository, or over an empty one."""

import signal
from functools import cached_property

from genre_assets.packaging.layout import ensure_repository, is_released
from genre_assets.serving.control import TritonControl
from genre_assets.serving.protocol import ENSEMBLE
from genre_assets.settings import Settings
from genre_assets.stack import triton_binary
from genre_assets.stack.service import Health, Service
from genre_assets.stack.triton_leftovers import remove_orphans, remove_shared_memory
from genre_assets.stack.triton_watchdog import Watchdog


class Triton(Service):
    """Starts with nothing to serve; after a restart it serves what was released last."""

    name = "triton"
    stop_signal = signal.SIGTERM
    # It waits out its own exit timeout when a client keeps a connection open or a stub is dead.
    stop_timeout = triton_binary.EXIT_SECONDS + 5.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.control = TritonControl.from_settings(settings)

    @property
    def ports(self) -> dict[str, int]:
        """HTTP, gRPC and metrics."""
        s = self.settings
        return {
            "triton_http_port": s.triton_http_port,
            "triton_grpc_port": s.triton_grpc_port,
            "triton_metrics_port": s.triton_metrics_port,
        }

    def addresses(self) -> dict[str, str]:
        """Where clients and Prometheus find it."""
        host, ports = self.settings.host, self.ports
        return {
            "http": f"{host}:{ports['triton_http_port']}",
            "grpc": f"{host}:{ports['triton_grpc_port']}",
            "metrics": f"http://{host}:{ports['triton_metrics_port']}/metrics",
        }

    def prepare(self) -> None:
        """Lay out the backend and, before the first release, an empty repository."""
        triton_binary.stage_backends(self.settings.home / "triton" / "backends")
        ensure_repository(self.settings.repository)

    def command(self) -> list[str]:
        """The server; it loads the ensemble (and with it the ensemble's steps) if one is released."""
        s = self.settings
        return triton_binary.command(
            s.repository,
            s.home / "triton" / "backends",
            triton_binary.Listen(s.host, s.triton_http_port, s.triton_grpc_port, s.triton_metrics_port),
            token=s.triton_admin_token.get_secret_value(),
            load=(ENSEMBLE,) if is_released(s.repository) else (),
        )

    def environment(self) -> dict[str, str]:
        """The server's libraries, and where the models find the settings."""
        return {**triton_binary.environment(), "GENRE_HOME": str(self.settings.home)}

    def health(self) -> Health:
        """Healthy when it serves the ensemble, or answers while nothing is released yet."""
        if not self.control.live():
            return Health(healthy=False, why=f"{self.control.url} does not answer")
        if not is_released(self.settings.repository):
            return Health(healthy=True, why="nothing is released yet: run the build job")
        if not self.control.ready():
            return Health(healthy=False, why=f"{ENSEMBLE} does not take requests; see {self.log}")
        return Health(healthy=True)

    def tend(self, pid: int) -> None:
        """Hide the token from other users, revive dead stubs."""
        triton_binary.hide_token(pid, self.settings.triton_admin_token.get_secret_value())
        if is_released(self.settings.repository):
            self._watchdog.revive(pid)

    def cleanup(self) -> None:
        """Remove what a killed server left outside the state folder."""
        remove_shared_memory(self.settings.triton_http_port)
        remove_orphans()

    @cached_property
    def _watchdog(self) -> Watchdog:
        return Watchdog(self.settings.repository, self.control)
