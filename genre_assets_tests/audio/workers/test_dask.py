"""Fan-out over a real Dask scheduler and two worker processes, one of which is killed during the run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets.audio import assets
from genre_assets.audio.tables import features
from genre_assets.audio.workers.dask import map_on_dask
from genre_assets.audio.workers.pool import Lost
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.conftest import wait_until_open
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import add_ten

pytest.importorskip("distributed", reason="the extra `dask` is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*legacy.*"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FILES = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two worker processes, each of one thread, without nannies to revive them."""
    address = f"127.0.0.1:{21_050 + os.getpid() % 40}"
    folder = tmp_path_factory.mktemp("dask")
    python = [sys.executable, "-W", "ignore", "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", address.split(":")[1]]
    started = [_start([*scheduler, "--no-dashboard"], folder)]
    wait_until_open(address)
    worker = [*python, "distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1", "--no-nanny"]
    started += [_start([*worker, "--no-dashboard", "--name", str(n)], folder) for n in range(2)]
    yield f"tcp://{address}"
    for process in started:
        process.kill()
        process.wait()


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def slowly(store: ObjectStore, task: int) -> tuple[int, int]:
    time.sleep(0.05)
    return task, os.getpid()


@pytest.fixture
def client(cluster: str) -> Iterator[Any]:
    from distributed import Client

    with Client(cluster) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


def test_the_asset_computes_on_the_cluster_what_it_computes_here(
    client: Any, cluster: str, store: ObjectStore, settings: Settings, resources: dict[str, Any]
) -> None:
    for seed in range(3):
        store.put_bytes(settings.raw_bucket, f"rock/{seed}.wav", sound_file(music(2, seed=seed)))
    far = settings.model_copy(update={"dask_scheduler": cluster})
    with dg.DagsterInstance.ephemeral() as instance:
        given = {**resources, "settings": dg.ResourceDefinition.hardcoded_resource(far)}
        assert dg.materialize(assets.ASSETS, resources=given, instance=add_ten(instance), partition_key="rock").success
    assert features.read(store, settings, "rock")["key"].tolist() == [f"rock/{seed}.wav" for seed in range(3)]


def test_a_killed_worker_loses_no_file_and_doubles_none(client: Any, settings: Settings) -> None:
    results = []
    killed = 0
    for task, result in map_on_dask(client, slowly, list(range(FILES)), settings=settings):
        assert not isinstance(result, Lost)
        results.append(task)
        if not killed:
            killed = result[1]
            os.kill(killed, signal.SIGKILL)
    assert sorted(results) == list(range(FILES))
    assert killed
