"""One service in a container of its own: kept alive as the local stack keeps it, with its output as the container's log.

A keeper per container, and no supervisor: what a service needs is in other containers, so it is looked for at its address.
The container ends when its service cannot be started, and the engine starts it again.
"""

import os
import signal
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.stack.services.catalogue import services
from genre_assets.stack.services.dagster import DagsterCode, DagsterDaemon, DagsterWeb
from genre_assets.stack.services.gateway import Gateway
from genre_assets.stack.services.mlflow import MLflow
from genre_assets.stack.services.triton import Triton
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.service import Service

CONNECT_SECONDS = 2.0
KEPT: tuple[type[Service], ...] = (MLflow, Triton, TritonDoor, DagsterCode, DagsterWeb, DagsterDaemon, Gateway)


def service(name: str, settings: Settings) -> Service:
    """The service of that name, as it is in its container. Raises `BadInput` if no container of ours runs it."""
    for one in services(settings):
        if one.name == name and isinstance(one, KEPT):
            one.contained = True
            return one
    names = ", ".join(kept.name for kept in KEPT)
    raise BadInput(f"there is no service {name!r} in a container of ours; there are: {names}")


def keep(kept: Service) -> int:
    """Keep the service until SIGTERM or SIGINT; returns 0, or 1 if it cannot be started."""
    os.umask(0o077)
    kept.settings.home.mkdir(parents=True, exist_ok=True)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    shown: dict[str, Any] = {}

    def show() -> None:
        standing = keeper.standing
        if (standing.state, standing.why) != shown.get("last"):
            shown["last"] = (standing.state, standing.why)
            why = f": {standing.why}" if standing.why else ""
            print(f"keeper: {kept.name} is {standing.state}{why}", flush=True)

    def ready(need: str) -> bool:
        where = address(need, kept)
        there = answers(where)
        if not there and shown.get("missing") != need:
            print(f"keeper: {kept.name} waits for {need}", flush=True)
        shown["missing"] = None if there else need
        return there

    keeper = Keeper(kept, ready=ready, changed=show)
    keeper.start()
    while not ending.wait(0.5) and keeper.standing.state != "failed":
        pass
    failed = keeper.standing.state == "failed"
    keeper.end()
    keeper.join(kept.stop_timeout + 15)
    return 1 if failed else 0


def address(need: str, kept: Service) -> str | None:
    """Where a service listens that this one needs; None where nothing of ours says so (S3 at AWS itself)."""
    settings = kept.settings
    database = settings.mlflow_database_url if isinstance(kept, MLflow) else settings.dagster_database_url
    found = {
        "s3": settings.s3_endpoint_url or "",
        "postgres": database.get_secret_value(),
        "mlflow": settings.mlflow_url,
        "triton": settings.triton_inner_http,
        "triton-door": settings.triton_http,
        "dagster-code": f"{settings.dagster_code_host}:{settings.dagster_code_port}",
        "dagster": settings.dagster_url,
    }[need]
    return found or None


def answers(where: str | None) -> bool:
    """Whether somebody listens at an address; what has none counts as there."""
    if where is None:
        return True
    parts = urlsplit(where if "://" in where else f"//{where}")
    port = parts.port or {"http": 80, "https": 443, "postgresql": 5432}.get(parts.scheme.partition("+")[0], 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
