"""The real PostgreSQL and S3 under the keeper."""

import stat
import subprocess
from pathlib import Path

import psycopg2
import pytest

from genre_assets.database import Database
from genre_assets.settings import load_settings
from genre_assets.stack.local import configure
from genre_assets.stack.postgres import DATABASES, Postgres
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.conftest import free_port, running


def test_postgres_runs_in_a_folder_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    settings = load_settings(private / "home", postgres_port=free_port())
    service = Postgres(settings, password="secret")
    with running(service):
        names = {row["datname"] for row in Database(service.url("genre")).rows("SELECT datname FROM pg_database")}
        assert set(DATABASES) <= names
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_postgres_keeps_its_rows_over_a_restart(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, postgres_port=free_port())
    service = Postgres(settings, password="secret")
    with running(service):
        Database(service.url("genre")).execute("CREATE TABLE kept AS SELECT 42 AS n")
    with running(Postgres(settings, password="secret")):
        assert Database(service.url("genre")).rows("SELECT n FROM kept") == [{"n": 42}]


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.url("postgres").replace(postgres.password, "wrong"))


def test_objects_survive_a_restart_of_s3(tmp_path: Path) -> None:
    from genre_assets.stack.s3 import S3

    port = free_port()
    settings = load_settings(
        tmp_path, s3_port=port, s3_endpoint_url=f"http://127.0.0.1:{port}", s3_secret_key="secret-of-the-test"
    )
    client = s3_client(settings)
    store = ObjectStore(client)
    with running(S3(settings)):
        store.put_bytes(settings.raw_bucket, "rock/a.wav", b"kept")
    with running(S3(settings)):
        assert store.get_bytes(settings.raw_bucket, "rock/a.wav") == b"kept"
    client.close()


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = configure(tmp_path)
    file = tmp_path / "stack.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = configure(tmp_path)
    assert second == first
    assert len(first.s3_secret_key.get_secret_value()) >= 24
    other = configure(tmp_path / "other")
    assert other.s3_secret_key != first.s3_secret_key


def test_a_port_offset_moves_every_port_and_every_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = configure(tmp_path / "one")
    monkeypatch.setenv("GENRE_PORT_OFFSET", "100")
    moved = configure(tmp_path / "two")
    ports = [name for name in type(plain).model_fields if name.endswith("_port")]
    assert len(ports) == 8
    assert all(getattr(moved, name) == getattr(plain, name) + 100 for name in ports)
    assert moved.dagster_url.endswith(str(moved.dagster_port))
    assert moved.triton_grpc.endswith(str(moved.triton_grpc_port))
    assert str(moved.postgres_port) in moved.database_url.get_secret_value()


def test_what_was_set_when_the_stack_came_up_holds_for_later_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRE_WINDOW_SIZE", "77")
    configure(tmp_path, extra={"GENRE_TRIALS_XGBOOST": "3", "GENRE_WINDOW_SIZE": "50"})
    monkeypatch.delenv("GENRE_WINDOW_SIZE")
    settings = load_settings(tmp_path)
    assert (settings.window_size, settings.trials_xgboost) == (77, 3)


@pytest.mark.parametrize(
    "value",
    [
        "a # b",
        "it's",
        'say "x"',
        " spaces ",
        "$HOME ${HOME} ${x:-y}",
        "back\\slash\\n",
        "two\nlines",
        "a=b",
        "ü ☃",
        "#",
        "''",
    ],
)
def test_a_setting_is_kept_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GENRE_ALERT_URLS", value)
    configure(tmp_path)
    monkeypatch.delenv("GENRE_ALERT_URLS")
    assert load_settings(tmp_path).alert_urls.get_secret_value() == value
    assert configure(tmp_path).alert_urls.get_secret_value() == value  # and a second writing changes nothing


def test_a_file_of_the_first_version_is_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("GENRE_S3_SECRET_KEY=abc-_1\nGENRE_WINDOW_SIZE=99\nGENRE_FEATURE_TABLES=\n")
    settings = configure(tmp_path)
    assert (settings.s3_secret_key.get_secret_value(), settings.window_size, settings.feature_tables) == (
        "abc-_1",
        99,
        "",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GENRE_WINDOW_MAX_SECONDS", "inf"),
        ("GENRE_FALSE_ALARM_RATE", "nan"),
        ("GENRE_GATE_MARGIN", "-inf"),
        ("GENRE_PREDICTION_RETENTION_DAYS", "800000"),
        ("GENRE_RETRAIN_EVERY_HOURS", "1e300"),
        ("GENRE_MIN_DWELL_SECONDS", "1e18"),
    ],
)
def test_an_absurd_number_stops_the_command_and_is_named(tmp_path: Path, name: str, value: str) -> None:
    from genre_assets_tests.live import COMMAND, environment

    outside = {**environment(tmp_path), name: value}
    done = subprocess.run([COMMAND, "up"], capture_output=True, text=True, env=outside, timeout=60)
    assert done.returncode == 1
    assert f"{name}='{value}'" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
