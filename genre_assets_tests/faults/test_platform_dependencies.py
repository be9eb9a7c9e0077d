"""A full raw bucket, a database that is away from commands and alerts, a webhook that is away."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.serving.alerts import channels
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.faults.conftest import Mounted, assert_says, command
from genre_assets_tests.faults.proxy import FaultProxy, Kind
from genre_assets_tests.receiver import Receiver, receiving

pytestmark = pytest.mark.stack


def test_a_full_raw_bucket_stops_the_upload_with_its_reason_and_the_same_command_completes_it(
    tmp_path: Path, small_disk: Mounted
) -> None:
    home, port = tmp_path / "home", free_port()
    settings = load_settings(home, s3_port=port, s3_endpoint_url=f"http://127.0.0.1:{port}", s3_secret_key="secret")
    audio = tmp_path / "audio"
    for number in range(4):
        (audio / "rock").mkdir(parents=True, exist_ok=True)
        (audio / "rock" / f"{number}.wav").write_bytes(sound_file(music(3, seed=number)))  # 132 kB each
    (home / "s3").mkdir(parents=True)
    with small_disk(home / "s3", 320 * 1024), running(S3(settings)):
        assert_says(command(settings, "ingest", str(audio)), settings.raw_bucket, "S3")
        store = ObjectStore(s3_client(settings))
        whole = {path.relative_to(audio).as_posix(): path.read_bytes() for path in audio.rglob("*.wav")}
        there = {
            entry.key: store.get_bytes(settings.raw_bucket, entry.key) for entry in store.list(settings.raw_bucket)
        }
        store.client.close()
        assert there.items() <= whole.items(), "no object is half there"
        assert len(there) == 2
    with running(S3(settings)):  # the disk below is large
        done = command(settings, "ingest", str(audio))
    assert done.returncode == 0, done.stderr
    assert "4 uploaded" in done.stdout


@pytest.fixture
def reached(postgres: Postgres, database: Database, postgres_proxy: FaultProxy) -> str:
    """The address of the test's own database, through the proxy."""
    return database.url.replace(f":{postgres.settings.postgres_port}/", f":{postgres_proxy.port}/")


def test_a_command_whose_database_is_away_says_so(behind: Settings, reached: str, postgres_proxy: FaultProxy) -> None:
    settings = behind.model_copy(update={"database_url": SecretStr(reached)})
    with postgres_proxy.behaving("refuse"):
        assert_says(command(settings, "history"), "the database does not answer", "genre-assets status")
    assert command(settings, "history").returncode == 0


def test_a_command_that_gets_no_connection_says_so(behind: Settings, postgres: Postgres, database: Database) -> None:
    settings = behind.model_copy(update={"database_url": SecretStr(database.url)})
    held: list[psycopg2.extensions.connection] = []
    try:
        while len(held) < 500:
            held.append(psycopg2.connect(database.url, connect_timeout=5))
    except psycopg2.OperationalError:
        assert_says(command(settings, "history"), "the database does not answer", "too many clients")
    finally:
        for connection in held:
            connection.close()
    assert len(held) < 500, "the server's limit was not reached"


@pytest.fixture
def webhook() -> Iterator[tuple[Receiver, FaultProxy]]:
    with receiving() as receiver, FaultProxy(("127.0.0.1", receiver.server.server_port)) as proxy:
        yield receiver, proxy


@pytest.mark.parametrize("fault", ["refuse", "unavailable", "hang"])
def test_an_alert_waits_for_its_webhook_and_arrives_once(
    database: Database,
    tmp_path: Path,
    webhook: tuple[Receiver, FaultProxy],
    fault: Kind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver, proxy = webhook
    monkeypatch.setattr(channels, "TIMEOUT_SECONDS", 1.0)
    settings = load_settings(tmp_path, database_url=database.url, alert_webhook=f"{proxy.url}/hook")
    alerts, now = Alerts.from_settings(settings), datetime.now(UTC)
    with proxy.behaving(fault):
        alerts.report("a", "it is wrong", "a body", now=now)
        delivered = alerts.deliver(now=now)
    assert delivered.sent == 0
    assert "the webhook did not take the alert" in delivered.failed[0]
    waiting = database.rows("SELECT attempts, error, delivered_at FROM alert_deliveries")
    assert [(row["attempts"], row["delivered_at"]) for row in waiting] == [(1, None)]
    assert waiting[0]["error"]
    later = now + timedelta(minutes=1)
    assert alerts.deliver(now=later).sent == 1
    assert alerts.deliver(now=later).sent == 0
    assert receiver.kinds() == [("opened", "a")]


def test_a_delivery_whose_database_goes_away_loses_no_message(
    database: Database, reached: str, postgres_proxy: FaultProxy, tmp_path: Path, webhook: tuple[Receiver, FaultProxy]
) -> None:
    receiver, proxy = webhook
    alerts = Alerts.from_settings(load_settings(tmp_path, database_url=reached, alert_webhook=f"{proxy.url}/hook"))
    alerts.report("b", "it is wrong", "a body")
    with postgres_proxy.behaving("refuse"), pytest.raises(TransientFailure, match="the database does not answer"):
        alerts.deliver()
    assert receiver.kinds() == []
    assert alerts.deliver().sent == 1
    assert receiver.kinds() == [("opened", "b")]
