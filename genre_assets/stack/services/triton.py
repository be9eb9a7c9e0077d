"""Triton as a local service: the wheel's server over the released repository, or over an empty one."""

import signal
import time
from functools import cached_property

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.triton_memory import Recycler
from genre_assets.stack.services.triton_watchdog import Watchdog
from genre_assets.stack.supervision.service import Health, Service
from genre_assets.triton import binary
from genre_assets.triton.control import TritonControl
from genre_assets.triton.known_clip import known_clip
from genre_assets.triton.leftovers import remove_orphans, remove_shared_memory, shm_prefix
from genre_assets.triton.protocol import ENSEMBLE

LOOPBACK = (
    "127.0.0.1"  # whatever the other services listen on: only the door reaches the server (in containers by a network)
)
VERIFY_SECONDS = 15.0  # for a revived model to answer, on a busy machine; else the server is restarted
LOAD_SECONDS = 30.0  # for reviving: a load that hangs is no revival, and holds up the one who keeps the server


class Triton(Service):
    """Starts with nothing to serve; after a restart it serves what was released last. Clients ask it through its door."""

    name = "triton"
    stop_signal = signal.SIGTERM
    # It waits out its own exit timeout when a client keeps a connection open or a stub is dead.
    stop_timeout = binary.EXIT_SECONDS + 5.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.repository = ModelRepository(settings.repository)
        self.control = TritonControl.behind_the_door(settings)
        self._server = 0
        self._unverified: dict[str, float] = {}  # revived model -> when it must have answered

    @property
    def ports(self) -> dict[str, int]:
        """HTTP and gRPC for the door, and metrics for all."""
        s = self.settings
        return {
            "triton_inner_http_port": s.triton_inner_http_port,
            "triton_inner_grpc_port": s.triton_inner_grpc_port,
            "triton_metrics_port": s.triton_metrics_port,
        }

    def addresses(self) -> dict[str, str]:
        """Where clients find its door, and Prometheus its metrics."""
        s = self.settings
        return {
            "http": f"{s.host}:{s.triton_http_port}",
            "grpc": f"{s.host}:{s.triton_grpc_port}",
            "metrics": f"http://{s.host}:{s.triton_metrics_port}/metrics",
        }

    def prepare(self) -> None:
        """Before the first release, make an empty repository."""
        self.repository.ensure()

    def command(self) -> list[str]:
        """The server; it loads the ensemble (and with it the ensemble's steps) if one is released."""
        s = self.settings
        return binary.command(
            s.repository,
            binary.stage_backends(s.home / "triton" / "backends"),
            binary.Listen(
                s.host if self.contained else LOOPBACK,
                s.triton_inner_http_port,
                s.triton_inner_grpc_port,
                s.triton_metrics_port,
                s.host,
            ),
            token=s.triton_admin_token.get_secret_value(),
            door_key=s.triton_door_key.get_secret_value(),
            load=(ENSEMBLE,) if self.repository.is_released else (),
        )

    def environment(self) -> dict[str, str]:
        """The server's libraries, where the models find the settings, and the role by which they append to the log.

        The role is read anew, as the models read the rest: for them it is the database's address, in whatever version they are.
        """
        variables = {**binary.environment(), "GENRE_HOME": str(self.settings.home)}
        appender = load_settings(self.settings.home).appender_database_url.get_secret_value()
        return {**variables, "GENRE_DATABASE_URL": appender} if appender else variables

    def health(self) -> Health:
        """Healthy when it serves the ensemble, or answers while nothing is released yet."""
        if not self.control.live():
            return Health(healthy=False, why=f"{self.control.url} does not answer")
        if not self.repository.is_released:
            return Health(healthy=True, why="nothing is released yet: run the build job")
        if not self.control.ready():
            return Health(healthy=False, why=f"{ENSEMBLE} does not take requests; see {self.log}")
        try:
            self.control.probe(known_clip())
        except (PermanentFailure, TransientFailure) as error:
            return Health(healthy=False, why=str(error))
        return Health(healthy=True)

    def tend(self, pid: int) -> None:
        """Hide what it is known by; revive dead Python processes, and see that they answer; replace those that hold much memory."""
        self._server = pid
        secrets = (self.settings.triton_admin_token, self.settings.triton_door_key)
        binary.hide_token(pid, *(secret.get_secret_value() for secret in secrets))
        if self.repository.is_released:
            for model in self._watchdog.revive(pid):
                self._unverified[model] = time.monotonic() + VERIFY_SECONDS
            self._verify(pid)
            if not self._unverified:
                self._recycler.look(pid)

    def tend_stopped(self, leader: int, pids: list[int]) -> bool:
        """A stopped server is restarted whole; once it is up, the watchdog ends and revives what is stopped below it."""
        return leader in pids or leader != self._server

    def _verify(self, pid: int) -> None:
        """A load is answered with 200 whatever came of it: each model must have a living process, and answer.

        Others may die meanwhile, so this looks once and waits for nothing.
        """
        if not self._unverified:
            return
        living = self._watchdog.living(pid)
        try:
            self.control.probe(known_clip(), timeout=2.0)
        except (PermanentFailure, TransientFailure) as error:
            why = str(error)
        else:
            self._unverified = {model: end for model, end in self._unverified.items() if model not in living}
            why = "no process of it lives"
        if late := [model for model, end in self._unverified.items() if time.monotonic() > end]:
            self._unverified.clear()
            raise TransientFailure(f"{', '.join(late)} lost a process and could not be revived: {why}")

    def cleanup(self) -> None:
        """Remove what a killed server left outside the state folder."""
        remove_shared_memory(self.settings.triton_inner_http_port)
        remove_orphans()

    @cached_property
    def _watchdog(self) -> Watchdog:
        return Watchdog(self.settings.repository, self._loading)

    @cached_property
    def _recycler(self) -> Recycler:
        return Recycler(self.settings.repository, self._loading, shm_prefix(self.settings.triton_inner_http_port))

    @property
    def _loading(self) -> TritonControl:
        return TritonControl.behind_the_door(self.settings, timeout=LOAD_SECONDS)
