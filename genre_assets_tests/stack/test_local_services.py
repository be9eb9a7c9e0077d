"""The real PostgreSQL and S3 under the keeper."""

import socket
import stat
import subprocess
from pathlib import Path

import psycopg2
import pytest

from genre_assets.database import Database
from genre_assets.errors import BadInput, TransientFailure
from genre_assets.settings import load_settings
from genre_assets.stack.configuration import (
    OFFSET_END,
    OFFSET_STEP,
    _addresses,
    configure,
    only_dagster_reads,
    ports_for,
)
from genre_assets.stack.services.postgres import DATABASES, Postgres
from genre_assets.stack.services.triton import Triton
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


def test_each_database_has_an_owner_that_is_no_superuser_and_opens_no_other(postgres: Postgres) -> None:
    """By the addresses that `up` writes for a stack with this password."""
    port = str(postgres.settings.postgres_port)
    values = {**ports_for(0), "GENRE_POSTGRES_PASSWORD": postgres.password, "GENRE_POSTGRES_PORT": port}
    addresses = _addresses(values, postgres.settings.host)
    assert addresses["GENRE_POSTGRES_ADMIN_URL"].endswith(postgres.url("postgres").partition("://")[2])
    owned = ("GENRE_DATABASE_URL", "GENRE_OPTUNA_URL", "GENRE_DAGSTER_DATABASE_URL", "GENRE_MLFLOW_DATABASE_URL")
    for name in owned:
        own = Database(addresses[name], tables=False)
        own.execute("CREATE TABLE mine_for_a_moment (n int)")
        own.execute("DROP TABLE mine_for_a_moment")
        (role,) = own.rows("SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user")
        assert not any(role.values())
        for other in {*DATABASES, "postgres"} - {own.url.rpartition("/")[2]}:
            with pytest.raises(TransientFailure, match="permission denied for database"):
                Database(f"{own.url.rpartition('/')[0]}/{other}", tables=False).rows("SELECT 1")


def test_triton_logs_as_who_may_only_append_unless_the_database_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure(tmp_path / "own")
    given = Triton(settings).environment()["GENRE_DATABASE_URL"]
    assert given.startswith("postgresql+psycopg2://appender:")
    assert settings.database_url.get_secret_value() != given
    assert settings.postgres_admin_url.get_secret_value().rpartition(":")[0] not in given
    monkeypatch.setenv("GENRE_DATABASE_URL", "postgresql://p:s@elsewhere/genre")
    assert "GENRE_DATABASE_URL" not in Triton(configure(tmp_path / "other")).environment()


def test_objects_survive_a_restart_of_s3(tmp_path: Path) -> None:
    from genre_assets.stack.services.s3 import S3

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
    assert len(ports) == 15
    assert all(getattr(moved, name) == getattr(plain, name) + 100 for name in ports)
    assert moved.dagster_url.endswith(str(moved.dagster_port))
    assert moved.triton_grpc.endswith(str(moved.triton_grpc_port))
    assert moved.triton_inner_http.endswith(str(moved.triton_inner_http_port))
    assert str(moved.postgres_port) in moved.database_url.get_secret_value()


def test_a_port_offset_or_port_that_is_given_later_wins_over_what_the_first_up_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = configure(tmp_path)
    monkeypatch.setenv("GENRE_PORT_OFFSET", "20")
    monkeypatch.setenv("GENRE_MLFLOW_PORT", "7777")
    moved = configure(tmp_path)
    assert (moved.dagster_port, moved.mlflow_port) == (first.dagster_port + 20, 7777)
    assert (moved.dagster_url, moved.mlflow_url) == ("http://127.0.0.1:3320", "http://127.0.0.1:7777")
    monkeypatch.delenv("GENRE_PORT_OFFSET")
    monkeypatch.delenv("GENRE_MLFLOW_PORT")
    assert configure(tmp_path) == moved


def test_no_two_allowed_offsets_share_a_port() -> None:
    taken: dict[str, int] = {}
    for offset in range(0, OFFSET_END, OFFSET_STEP):
        for port in ports_for(offset).values():
            assert taken.setdefault(port, offset) == offset


@pytest.mark.parametrize("offset", ["1000", "2100", "15", "900"])
def test_an_offset_by_which_two_stacks_could_share_a_port_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: str
) -> None:
    monkeypatch.setenv("GENRE_PORT_OFFSET", offset)
    with pytest.raises(BadInput, match=f"GENRE_PORT_OFFSET={offset}: it must be a multiple of 10 from 0 to 890"):
        configure(tmp_path)
    assert not (tmp_path / "stack.env").exists()


def test_a_folder_with_an_offset_of_an_earlier_version_stays_within_reach(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("GENRE_PORT_OFFSET='2100'\nGENRE_DAGSTER_PORT='5400'\n")
    assert configure(tmp_path).dagster_port == 5400


def test_two_services_on_one_port_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRE_MLFLOW_PORT", "3300")
    with pytest.raises(BadInput, match="GENRE_MLFLOW_PORT and GENRE_DAGSTER_PORT are both 3300"):
        configure(tmp_path)


def test_the_advice_that_a_taken_port_is_answered_with_helps(tmp_path: Path) -> None:
    """The first `up` remembers its ports before it finds one of them taken; the second is told to move."""
    from genre_assets_tests.live import COMMAND, environment

    taken = {offset: 9300 + offset for offset in (870, 880)}
    listeners = [socket.create_server(("127.0.0.1", port)) for port in taken.values()]
    try:
        for offset, port in taken.items():
            outside = {**environment(tmp_path), "GENRE_PORT_OFFSET": str(offset)}
            done = subprocess.run([COMMAND, "up"], capture_output=True, text=True, env=outside, timeout=60)
            assert done.returncode == 1
            assert f"port {port} on 127.0.0.1" in done.stderr
    finally:
        for listener in listeners:
            listener.close()


def test_what_was_set_when_the_stack_came_up_holds_for_later_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRE_WINDOW_SIZE", "77")
    configure(tmp_path, extra={"GENRE_TRIALS_XGBOOST": "3", "GENRE_WINDOW_SIZE": "50"})
    monkeypatch.delenv("GENRE_WINDOW_SIZE")
    settings = load_settings(tmp_path)
    assert (settings.window_size, settings.trials_xgboost) == (77, 3)


def test_what_holds_for_the_story_alone_is_gone_at_the_next_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed demo leaves its small windows behind; whoever comes up next gets what is documented, or was set."""
    monkeypatch.setenv("GENRE_TRIALS_XGBOOST", "5")
    told = configure(tmp_path, extra={"GENRE_WINDOW_SIZE": "64", "GENRE_TRIALS_XGBOOST": "8"})
    assert (told.window_size, told.trials_xgboost) == (64, 5)
    monkeypatch.delenv("GENRE_TRIALS_XGBOOST")
    assert (load_settings(tmp_path).window_size, load_settings(tmp_path).trials_xgboost) == (64, 5)
    after = configure(tmp_path)
    assert (after.window_size, after.trials_xgboost) == (128, 5)
    assert only_dagster_reads({"GENRE_WINDOW_SIZE", "GENRE_TUNING_SECONDS"})
    assert not only_dagster_reads({"GENRE_WINDOW_SIZE", "GENRE_TRITON_GRPC_PORT"})


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
