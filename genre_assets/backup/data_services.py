"""PostgreSQL and S3 for a backup or a restore: those that run, or the local stack's two, started for the time being."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.settings import Settings
from genre_assets.shipped.servers import ensure
from genre_assets.stack.closed_folder import OWNER_ONLY
from genre_assets.stack.configuration import own_addresses
from genre_assets.stack.own_stack import require_own
from genre_assets.stack.services.catalogue import services
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.run_files import supervisor_pid
from genre_assets.stack.supervision.service import Service

START_SECONDS = 60.0
ADDRESSES = ("database_url", "optuna_url", "dagster_database_url", "mlflow_database_url", "s3_endpoint_url")
Say = Callable[[str], None]


def are_elsewhere(settings: Settings) -> bool:
    """Whether somebody stated where all four databases and S3 are. Raises `BadInput` if some of them are stated."""
    own = own_addresses(settings.home)
    here = [name for name in ADDRESSES if f"GENRE_{name.upper()}" in own]
    if here and len(here) < len(ADDRESSES):
        names = ", ".join(f"GENRE_{name.upper()}" for name in here)
        raise BadInput(
            f"some services are elsewhere and some are not: state {names} too, or none of the addresses, since a backup "
            "is of one installation"
        )
    return not here


@contextmanager
def to_read(settings: Settings, say: Say) -> Iterator[None]:
    """For a backup: the running stack's, or those of a stack that is down. Raises `NoStack` if there has been none."""
    if are_elsewhere(settings):
        yield
        return
    if supervisor_pid(settings.home) is None and (settings.home / "postgres" / "PG_VERSION").exists():
        with _started(settings, say):
            yield
        return
    require_own(settings, "database_url", "s3_endpoint_url")
    yield


@contextmanager
def to_write(settings: Settings, say: Say) -> Iterator[None]:
    """For a restore: of a stack that is down. Raises `BadInput` if it runs: its services would work on half of the data."""
    if are_elsewhere(settings):
        yield
        return
    refuse_running(settings)
    with _started(settings, say):
        yield


def refuse_running(settings: Settings) -> None:
    """Raise `BadInput` if the local stack runs."""
    if supervisor_pid(settings.home) is not None:
        raise BadInput(
            f"the stack in {settings.home} runs, and would work on half of the data: genre-assets down, restore, then "
            "genre-assets up"
        )


@contextmanager
def _started(settings: Settings, say: Say) -> Iterator[None]:
    say(f"starting PostgreSQL and S3 of {settings.home} for the time being")
    os.umask(OWNER_ONLY)
    settings.home.mkdir(parents=True, exist_ok=True)
    ensure(settings.home, say)
    with ExitStack() as stack:
        for service in services(settings):
            if isinstance(service, Postgres | S3):
                stack.enter_context(_kept(service))
        yield


@contextmanager
def _kept(service: Service) -> Iterator[None]:
    keeper = Keeper(service, ready=lambda _: True, changed=lambda: None)
    keeper.start()
    end = time.monotonic() + START_SECONDS
    try:
        while keeper.standing.state != "healthy":
            if time.monotonic() > end or keeper.standing.state == "failed":
                raise PermanentFailure(
                    f"{service.name} does not start: {keeper.standing.why or 'it does not answer'}; its log is {service.log}"
                )
            time.sleep(0.05)
        yield
    finally:
        keeper.end()
        keeper.join(service.stop_timeout + 15)
