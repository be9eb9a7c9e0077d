"""Three Tritons with their doors, each with an agent as the process that it is, on one database and one object store."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import dagster as dg

from genre_assets.database import Database
from genre_assets.definitions import build_defs
from genre_assets.errors import GenreError
from genre_assets.packaging import publish, release
from genre_assets.packaging.environment.lock import Environment
from genre_assets.serving.promotion.policy import Route
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.triton import Triton
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.control import TritonControl
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.faults.proxy import FaultProxy
from genre_assets_tests.serving.live_stack import write_env
from genre_assets_tests.serving.toys import toy_model
from genre_assets_tests.waiting import until

LOST_SECONDS = 5.0
BUCKET = "fleet-serving"


@dataclass
class Replica:
    """One Triton with its door, the agent beside it, and what lies between the agent and the others."""

    settings: Settings
    database: FaultProxy
    s3: FaultProxy
    agent: "subprocess.Popen[bytes] | None" = None

    @property
    def name(self) -> str:
        return self.settings.replica

    @cached_property
    def control(self) -> TritonControl:
        return TritonControl.behind_the_door(self.settings, timeout=10)

    def start(self) -> None:
        """Start the agent."""
        log = (self.settings.home / "agent.log").open("ab")
        environment = {**os.environ, "GENRE_HOME": str(self.settings.home)}
        command = [sys.executable, "-m", "genre_assets.serving.agent"]
        self.agent = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        log.close()

    def signal(self, number: int) -> None:
        """Send the agent a signal."""
        assert self.agent is not None
        self.agent.send_signal(number)

    def stop(self) -> None:
        """End the agent, stopped or not."""
        if self.agent is not None:
            self.agent.send_signal(signal.SIGCONT)
            self.agent.terminate()
            try:
                self.agent.wait(20)
            except subprocess.TimeoutExpired:
                self.agent.kill()
                self.agent.wait(5)

    def asked(self) -> tuple[bool, str]:
        """Whether it may answer, as a probe with a deadline sees it, and why."""
        try:
            with urlopen(f"http://127.0.0.1:{self.settings.agent_port}/ready", timeout=1) as answer:
                return True, json.load(answer)["why"]
        except HTTPError as error:
            with error:
                return False, json.load(error)["why"]
        except (URLError, OSError) as error:
            return False, str(error)

    def log(self) -> str:
        """What the agent printed."""
        return (self.settings.home / "agent.log").read_text()


@dataclass
class Fleet:
    """The replicas, and those who promote."""

    settings: Settings
    store: ObjectStore
    database: Database
    replicas: list[Replica]
    environment: Environment
    models: Mapping[int, Path]
    folder: Path

    def build(self, models: Mapping[int, Path], roles: Mapping[str, int], name: str) -> release.Release:
        """Build and publish a release without the parity gate."""
        made = release.build(self.folder / name, self.settings, self.environment, models, roles)
        publish.publish(self.settings, self.store, made, self.folder / name)
        return made

    def promote(self, route: Route) -> dg.ExecuteInProcessResult:
        """Run the job `promote` as a person launches it."""
        config = {"route": route, "reason": "a test", "actor": "person"}
        with dg.DagsterInstance.ephemeral() as instance:
            return self._promotion.execute_in_process(
                {"ops": {"live_ensemble": {"config": config}}}, instance=instance, raise_on_error=False
            )

    def routes(self, *, ready: bool = True) -> dict[str, str | None]:
        """The route that each replica serves, of those that may answer."""
        found = {}
        for one in self.replicas:
            if not ready or one.asked()[0]:
                found[one.name] = served_by(one)
        return found

    def all_serve(self, route: str, replicas: int = 3) -> bool:
        routes = self.routes()
        return len(routes) == replicas and set(routes.values()) == {route}

    @cached_property
    def _promotion(self) -> dg.JobDefinition:
        return build_defs(self.settings).resolve_job_def("promote")


@contextmanager
def fleet_of(
    folder: Path, environment: Environment, s3: Settings, database: Database, count: int = 3
) -> Iterator[Fleet]:
    """So many replicas with running agents; nothing is released yet beyond the first release in the bucket."""
    at = urlsplit(database.url)
    common = {
        "s3_endpoint_url": s3.s3_endpoint_url, "s3_secret_key": s3.s3_secret_key, "database_url": database.url,
        "serving_bucket": BUCKET, "serving_extractors": 1, "serving_agents": True, "release_key": "key-of-the-fleet",
        "replica_lost_seconds": LOST_SECONDS, "replica_timeout_seconds": 240, "triton_admin_token": "token-of-the-tests",
        "triton_door_key": "key-of-the-tests", "environment_source": "local", "spool_max_mb": 16,
    }  # fmt: skip
    (folder / "platform").mkdir(parents=True)
    settings = load_settings(folder / "platform", **common)
    store = ObjectStore(s3_client(settings))
    store.ensure_buckets(BUCKET)
    for entry in list(store.list(BUCKET)):
        store.delete(BUCKET, entry.key)
    with ExitStack() as stack:
        stack.callback(store.client.close)
        replicas = []
        for number in range(count):
            books = stack.enter_context(FaultProxy((at.hostname or "", at.port or 0)))
            objects = stack.enter_context(FaultProxy(("127.0.0.1", urlsplit(s3.s3_endpoint_url or "").port or 0)))
            replicas.append(Replica(_settings(folder, number, common, books, objects), books, objects))
            home = replicas[-1].settings.home
            (home / "environments").mkdir(parents=True)
            (home / "environments" / environment.lock.hash).symlink_to(environment.folder)
            write_env(replicas[-1].settings)
        for one in replicas:
            stack.enter_context(running(Triton(one.settings)))
            stack.enter_context(running(TritonDoor(one.settings)))
        models = {
            3: toy_model(folder / "m3", version=3, family="xgboost", seed=1),
            4: toy_model(folder / "m4", version=4, family="random_forest", seed=2),
        }
        fleet = Fleet(settings, store, database, replicas, environment, models, folder)
        fleet.build(models, {"champion": 3, "fallback": 4}, "first")
        for one in replicas:
            stack.callback(one.stop)
            one.start()
        yield fleet


def _settings(
    folder: Path, number: int, common: Mapping[str, object], database: FaultProxy, s3: FaultProxy
) -> Settings:
    http, grpc, metrics, inner_http, inner_grpc, agent = (free_port() for _ in range(6))
    at = urlsplit(str(common["database_url"]))
    own = {
        "database_url": at._replace(netloc=at.netloc.rpartition("@")[0] + f"@127.0.0.1:{database.port}").geturl(),
        "s3_endpoint_url": s3.url, "replica": f"replica-{number}", "agent_port": agent,
        "triton_http_port": http, "triton_grpc_port": grpc, "triton_metrics_port": metrics,
        "triton_http": f"127.0.0.1:{http}", "triton_grpc": f"127.0.0.1:{grpc}", "triton_metrics": f"127.0.0.1:{metrics}",
        "triton_inner_http_port": inner_http, "triton_inner_grpc_port": inner_grpc,
        "triton_inner_http": f"127.0.0.1:{inner_http}", "triton_inner_grpc": f"127.0.0.1:{inner_grpc}",
    }  # fmt: skip
    return load_settings(folder / f"replica-{number}", **{**common, **own})


def served_by(one: Replica) -> str | None:
    """The route of its server; None of one that is away or starts, and answers nothing."""
    try:
        return one.control.route()
    except GenreError:
        return None


def wait_until_ready(fleet: Fleet) -> None:
    """Wait until each replica may answer."""
    until(
        lambda: all(one.asked()[0] for one in fleet.replicas),
        lambda: "; ".join(f"{one.name}: {one.asked()} {one.log()[-500:]}" for one in fleet.replicas),
        120,
        pause=0.2,
    )
