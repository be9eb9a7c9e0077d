"""A real Triton whose S3 and PostgreSQL stand behind fault proxies: who is answered, what is logged, what is counted."""

import gc
import os
import re
import shutil
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from genre_assets.errors import GenreError
from genre_assets.serving.rollout.live import go_live
from genre_assets.settings import Settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient, Prediction
from genre_assets_tests.faults.conftest import Mounted, fill
from genre_assets_tests.faults.proxy import FaultProxy, Kind
from genre_assets_tests.serving.live_stack import LiveStack, appender_url
from genre_assets_tests.serving.rollout.test_live import server_process
from genre_assets_tests.serving.toys import clip, toy_model
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack
S3_ITEM_SECONDS = 6.0  # two and a half of a hang, and what a slow machine adds
BYTES_SECONDS = 4.0  # a slow machine's "usual speed": a queue behind a hung S3 would take its deadline, and more


@dataclass
class Proxied:
    """The live stack, and what stands between it and its dependencies."""

    live: LiveStack
    s3: FaultProxy
    postgres: FaultProxy

    def rows(self, request: str) -> int:
        """Rows of the log whose request id starts so."""
        sql = "SELECT count(*) AS n FROM served_requests WHERE request_id LIKE %s"
        return int(self.live.database.rows(sql, (f"{request}%",))[0]["n"])

    def dropped(self) -> float:
        """Rows that the server says it gave up."""
        with urllib.request.urlopen(f"http://{self.live.settings.triton_metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(r"(?m)^genre_log_dropped_rows_total\S* (\S+)$", text))

    def drained(self) -> bool:
        """Whether the log has nothing left to ship."""
        return not list(spool(self.live.settings).glob("*.*"))


@pytest.fixture(scope="module")
def proxied(live: LiveStack, s3_settings: Settings, postgres: Postgres) -> Iterator[Proxied]:
    """The session's Triton, restarted with settings that lead through the proxies; and back again at the end."""
    file = live.settings.home / "stack.env"
    before = file.read_text()
    s3_port = urlsplit(s3_settings.s3_endpoint_url or "").port or 0
    with FaultProxy(("127.0.0.1", s3_port)) as s3, FaultProxy(("127.0.0.1", postgres.settings.postgres_port)) as pg:
        database = appender_url(postgres).replace(f":{postgres.settings.postgres_port}/", f":{pg.port}/")
        file.write_text(f"{before}\nGENRE_S3_ENDPOINT_URL={s3.url}\nGENRE_APPENDER_DATABASE_URL={database}\n")
        try:
            live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
            live.serve("champion")
            restart(live)
            yield Proxied(live, s3, pg)
        finally:
            file.write_text(before)
            restart(live)


def restart(live: LiveStack) -> None:
    """Kill the server; its keeper starts another one."""
    old = server_process(live)
    os.kill(old, signal.SIGKILL)
    until(lambda: server_process(live) not in {0, old} and live.control.ready(), "Triton is back", 90)


def spool(settings: Settings) -> Path:
    return settings.home / "triton" / "spool"


@dataclass
class Clean:
    """What a client of bytes got meanwhile."""

    answers: list[Prediction] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def bytes_client(live: LiveStack) -> Iterator[Clean]:
    """A client that sends the bytes of a clip again and again until the end of the block."""
    ending, got = threading.Event(), Clean()

    def ask() -> None:
        with GenreClient(live.settings.triton_grpc, deadline_s=30) as client:
            while not ending.wait(0.05):
                began = time.monotonic()
                try:
                    got.answers += client.predict([clip(1)], log=False)
                except GenreError as error:
                    got.failures.append(str(error))
                got.seconds.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield got
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize("fault", ["refuse", "unavailable", "cut", "hang"])
def test_a_store_that_fails_costs_only_the_items_that_name_its_keys(proxied: Proxied, fault: Kind) -> None:
    live = proxied.live
    live.store.put_bytes("genre-raw", "rock/far.wav", clip(5))
    address = "s3://genre-raw/rock/far.wav"
    right = live.client.predict([clip(1)], log=False)[0]
    with GenreClient(live.settings.triton_grpc, deadline_s=30) as client:
        with proxied.s3.behaving(fault, amount=5_000), bytes_client(live) as meanwhile:
            for _ in range(2):
                began = time.monotonic()
                far, near = client.predict([address, clip(2)], log=False)
                assert time.monotonic() - began < S3_ITEM_SECONDS
                assert far.error.startswith("store_unavailable: "), far.error
                assert near.error == ""
            until(lambda: len(meanwhile.answers) >= 5, "the client of bytes is served", 30)
        assert meanwhile.failures == []
        assert {(a.label, a.error) for a in meanwhile.answers} == {(right.label, "")}
        assert max(meanwhile.seconds) < BYTES_SECONDS
        until(lambda: client.predict([address], log=False)[0].error == "", "the object is read again", 60, pause=0.5)


def ask_some(proxied: Proxied, name: str, seconds: float) -> int:
    """Ask for some seconds under request ids that start with `name`; returns how many items were answered."""
    import numpy as np
    import tritonclient.grpc

    answered, end = 0, time.monotonic() + seconds
    with tritonclient.grpc.InferenceServerClient(proxied.live.settings.triton_grpc) as client:
        while time.monotonic() < end:
            tensor = tritonclient.grpc.InferInput("AUDIO", [2, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[clip(answered)], [b"no audio at all" * 9]], dtype=object))
            client.infer("genre_ensemble", [tensor], request_id=f"{name}-{answered}", client_timeout=20)
            answered += 2
    return answered


def exhausted(postgres: Postgres) -> list["psycopg2.extensions.connection"]:
    """Every connection that the server gives."""
    held = []
    with pytest.raises(psycopg2.OperationalError, match=r"connection slots|too many clients"):
        while True:
            held.append(psycopg2.connect(postgres.url("postgres").replace("+psycopg2", ""), connect_timeout=5))
    return held


def test_a_database_that_fails_in_every_way_costs_no_answer_and_no_row_and_doubles_none(
    proxied: Proxied, postgres: Postgres
) -> None:
    name = uuid.uuid4().hex[:8]
    answered = ask_some(proxied, name, 1.0)
    faults: list[tuple[Kind, float, int]] = [("refuse", 0, 0), ("slow", 0.4, 0), ("cut", 0, 4_000), ("hang", 0, 0)]
    for kind, seconds, amount in faults:
        with proxied.postgres.behaving(kind, seconds=seconds, amount=amount):
            answered += ask_some(proxied, name, 2.0)
    held = exhausted(postgres)
    try:
        answered += ask_some(proxied, name, 1.5)
    finally:
        for connection in held:
            connection.close()
    until(lambda: proxied.rows(name) >= answered, "each answer is logged", 60, pause=0.5)
    assert proxied.rows(name) == answered
    assert proxied.postgres.met > 0


@pytest.fixture
def next_release(proxied: Proxied, tmp_path: Path) -> Iterator[str]:
    """A published release that does not serve yet; the first one serves again after the test."""
    live = proxied.live
    seed = uuid.uuid4().int % 1_000_000
    models = {**live.models, 12: toy_model(tmp_path / "m12", version=12, family="k_neighbors", seed=seed)}
    yield live.build(models, {"champion": 12, "fallback": 4}, f"faults-{seed}").id
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", ["refuse", "unavailable", "cut"])
def test_a_release_that_cannot_be_fetched_leaves_the_one_before_serving(
    proxied: Proxied, next_release: str, fault: Kind
) -> None:
    live = proxied.live
    store = ObjectStore(s3_client(live.settings.model_copy(update={"s3_endpoint_url": proxied.s3.url})))
    with proxied.s3.behaving(fault, amount=3_000), pytest.raises(GenreError, match="S3"):
        go_live(live.settings, store, live.control, live.client, lambda _: "champion")
    assert live.repository.release == live.releases[0].id
    assert live.client.predict([clip(1)], log=False)[0].version == 3
    assert go_live(live.settings, store, live.control, live.client, lambda _: "champion").release.id == next_release
    assert live.client.predict([clip(1)], log=False)[0].version == 12
    store.client.close()
    del store
    gc.collect()  # here, since botocore leaves the connection of a body that was cut to the garbage collector


def test_a_full_disk_under_the_releases_leaves_the_one_before_serving(
    proxied: Proxied, next_release: str, small_disk: Mounted
) -> None:
    live = proxied.live
    folder = live.repository.releases
    serving = live.releases[0].id
    size = sum(p.stat().st_size for p in (folder / serving).rglob("*") if p.is_file() and not p.is_symlink())
    copy = live.folder / "copy"
    shutil.copytree(folder / serving, copy, symlinks=True)
    with small_disk(folder, size + 400 * 1024):
        shutil.copytree(copy, folder / serving, symlinks=True)
        fill(folder / "ballast")
        with pytest.raises(GenreError, match=r"is not on disk: .*No space left on device"):
            live.serve("champion")
        assert live.repository.release == serving
        assert live.client.predict([clip(1)], log=False)[0].version == 3
    assert live.serve("champion").release.id == next_release
