"""A real S3 server (worker processes reach it over HTTP), and settings for it with buckets of their own."""

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets.database import Database
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.labelled import keep_ten


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the local stack's S3 server (rclone), started for these tests alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("s3")
    rclone = Path(sys.executable).with_name("rclone")
    options = ["--auth-key", "key,secret", "--config", "/dev/null", "--vfs-cache-mode", "off"]
    with subprocess.Popen([rclone, "serve", "s3", "--addr", address, *options, folder], stderr=subprocess.DEVNULL) as p:
        wait_until_open(address)
        yield f"http://{address}"
        p.terminate()


def wait_until_open(address: str) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"no S3 server at {address}"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def settings(tmp_path: Path, s3_server: str) -> Settings:
    name = uuid.uuid4().hex[:12]
    return load_settings(
        tmp_path,
        s3_endpoint_url=s3_server,
        s3_access_key="key",
        s3_secret_key="secret",
        raw_bucket=f"raw-{name}",
        features_bucket=f"features-{name}",
        workers=1,
        feature_set="gtzan37",
    )


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    made = ObjectStore(s3_client(settings))
    made.ensure_buckets(settings.raw_bucket, settings.features_bucket)
    return made


@pytest.fixture
def ten_genres(settings: Settings, store: ObjectStore) -> None:
    """The ten genres are the bucket's label set."""
    keep_ten(store, settings)


@pytest.fixture
def resources(settings: Settings, store: ObjectStore, database: Database) -> dict[str, Any]:
    return {
        "database": dg.ResourceDefinition.hardcoded_resource(database),
        "settings": dg.ResourceDefinition.hardcoded_resource(settings),
        "store": dg.ResourceDefinition.hardcoded_resource(store),
    }
