"""Fault proxies in front of the services of the session, and small disks."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from genre_assets.settings import Settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.faults.proxy import FaultProxy

Mounted = Callable[[Path, int], AbstractContextManager[None]]
# `make test-faults` sets it: the long forms of these tests.
FULL = os.environ.get("TEST_FAULTS") == "full"
COMMAND = str(Path(sys.executable).with_name("genre-assets"))


@pytest.fixture
def s3_proxy(s3_settings: Settings) -> Iterator[FaultProxy]:
    """Between the test and the session's S3."""
    address = urlsplit(s3_settings.s3_endpoint_url or "")
    assert address.hostname
    assert address.port
    with FaultProxy((address.hostname, address.port)) as proxy:
        yield proxy


@pytest.fixture
def postgres_proxy(postgres: Postgres) -> Iterator[FaultProxy]:
    """Between the test and the session's PostgreSQL."""
    with FaultProxy(("127.0.0.1", postgres.settings.postgres_port)) as proxy:
        yield proxy


@pytest.fixture
def behind(s3_settings: Settings, s3_proxy: FaultProxy, tmp_path: Path) -> Settings:
    """Settings of a platform that reaches S3 through the proxy only, with buckets of its own."""
    name = uuid.uuid4().hex[:8]
    changed: dict[str, object] = {
        "home": tmp_path / "home",
        "s3_endpoint_url": s3_proxy.url,
        "raw_bucket": f"raw-{name}",
        "features_bucket": f"features-{name}",
        "workers": 1,
        "feature_set": "gtzan37",
    }
    settings = s3_settings.model_copy(update=changed)
    settings.home.mkdir()
    straight_to(settings, s3_settings).ensure_buckets(settings.raw_bucket, settings.features_bucket)
    return settings


def straight_to(settings: Settings, s3_settings: Settings) -> ObjectStore:
    """A store that does not go through the proxy."""
    return ObjectStore(s3_client(settings.model_copy(update={"s3_endpoint_url": s3_settings.s3_endpoint_url})))


def command(settings: Settings, *arguments: str, timeout: float = 100.0) -> "subprocess.CompletedProcess[str]":
    """`genre-assets` as a person runs it, with the settings that these tests change."""
    given = {
        "GENRE_HOME": str(settings.home),
        "GENRE_S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "GENRE_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "GENRE_RAW_BUCKET": settings.raw_bucket,
        "GENRE_FEATURES_BUCKET": settings.features_bucket,
        "GENRE_DATABASE_URL": settings.database_url.get_secret_value(),
    }
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "DAGSTER_"))}
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, env={**outside, **given}, timeout=timeout
    )


def assert_says(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """The command failed with a message for a person that holds the words, and not with a traceback."""
    said = " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in said, done.stderr
    assert done.returncode == 1, said
    assert "error:" in said
    for word in words:
        assert word in said, said


@pytest.fixture
def small_disk() -> Mounted:
    """Mounts a file system of some bytes over a folder, for the time of a block; the test is skipped where that is refused."""
    return mounted


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """An empty tmpfs of `size` bytes over `folder`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(file: Path) -> None:
    """Write until the disk is full."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while True:
                os.write(descriptor, bytes(512))
    finally:
        os.close(descriptor)
