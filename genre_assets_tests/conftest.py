"""Fixtures for the whole suite: real services, each on a free port and in a temporary folder."""

import gc
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genre_assets.database import Database
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.service import Service
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.live import stack

__all__ = ["stack"]  # a session fixture: the integration and browser tests share one running stack

pytest_plugins = ["genre_assets_tests.serving.live_stack"]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the whole stack come last: once it runs, it takes a good part of a core from all others.

    In CI, whose time is bounded on machines that may be slow, the long ones are left out; pytest says how many.
    """
    if "compose" not in config.option.markexpr:
        asked_for = [item for item in items if item.get_closest_marker("compose")]
        config.hook.pytest_deselected(items=asked_for)
        items[:] = [item for item in items if item not in asked_for]
    items.sort(key=lambda item: "stack" in getattr(item, "fixturenames", ()))
    if os.environ.get("CI"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """What a module forgot to close is told at its own end, not at the end of whichever test runs when it is noticed."""
    yield
    gc.collect()
    gc.freeze()  # what lives on is not looked at again: the next module's end is quick


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(service: Service, timeout: float = 60.0) -> Iterator[Service]:
    """The service, kept as the supervisor keeps it, until the end of the block."""
    service.settings.home.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(service, ready=lambda _: True, changed=lambda: None)
    keeper.start()
    end = time.monotonic() + timeout
    try:
        while keeper.standing.state != "healthy":
            if time.monotonic() > end or keeper.standing.state == "failed":
                pytest.fail(f"{service.name} does not start: {keeper.standing}")
            time.sleep(0.05)
        yield service
    finally:
        keeper.end()
        keeper.join(30)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's GENRE_* variables must not change what the tests see."""
    for name in [name for name in os.environ if name.startswith("GENRE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL server for the session."""
    home = tmp_path_factory.mktemp("postgres")
    settings = load_settings(home, postgres_port=free_port())
    with running(Postgres(settings, password=uuid.uuid4().hex)) as service:
        assert isinstance(service, Postgres)
        yield service


@pytest.fixture(scope="session")
def brought_up(postgres: Postgres) -> str:
    """Name of a database with the platform's empty tables, to make others from; it goes with the server."""
    name = _create_database(postgres)
    Database(postgres.url(name)).version()
    return name


@pytest.fixture
def database(postgres: Postgres, brought_up: str) -> Iterator[Database]:
    """A database of its own for each test, with the platform's tables, all empty."""
    with _new_database(postgres, brought_up) as database:
        yield database


@pytest.fixture
def bare_database(postgres: Postgres) -> Iterator[Database]:
    """A database of its own in which nothing is."""
    with _new_database(postgres, None) as database:
        yield database


@contextmanager
def _new_database(postgres: Postgres, template: str | None) -> Iterator[Database]:
    name = _create_database(postgres, template)
    try:
        yield Database(postgres.url(name))
    finally:
        _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _create_database(postgres: Postgres, template: str | None = None) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(postgres, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    return name


def _execute(postgres: Postgres, statement: str) -> None:
    """Run one statement on a connection of its own: the server may have been restarted since the one before."""
    import psycopg2

    connection = psycopg2.connect(postgres.url("postgres"))
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def s3_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose S3 endpoint is a real local server, with the five buckets made."""
    home = tmp_path_factory.mktemp("s3")
    port = free_port()
    settings = load_settings(
        home, s3_port=port, s3_endpoint_url=f"http://127.0.0.1:{port}", s3_secret_key=uuid.uuid4().hex
    )
    with running(S3(settings)):
        yield settings


@pytest.fixture
def store(s3_settings: Settings) -> Iterator[ObjectStore]:
    """An object store whose five buckets are empty at the start of each test."""
    store = ObjectStore(s3_client(s3_settings))
    for bucket in (
        s3_settings.raw_bucket,
        s3_settings.clients_bucket,
        s3_settings.features_bucket,
        s3_settings.mlflow_bucket,
        s3_settings.serving_bucket,
    ):
        for entry in list(store.list(bucket)):
            store.delete(bucket, entry.key)
    yield store
    store.client.close()


@pytest.fixture(scope="session")
def gtzan_clips() -> Path:
    """Folder of the 40 real clips, when the shared data is beside the checkout."""
    folder = SHARED_DATA / "gtzan_subset"
    if not folder.is_dir():
        pytest.skip("the shared GTZAN clips are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def gtzan_tables() -> Path:
    """Folder of the public feature tables, when the shared data is beside the checkout."""
    folder = SHARED_DATA / "gtzan_features"
    if not folder.is_dir():
        pytest.skip("the shared feature tables are not beside this checkout")
    return folder
