"""The one-shot `init` of docker-compose.yaml, over a real PostgreSQL and a real S3: what it makes, and that it makes it once."""

import os
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from genre_assets import migrations
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.inference import request_log
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.containers.init import initialise, let_others, make_roles
from genre_assets.stack.services.database_roles import Login
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.inference.test_request_log import row

DATABASES = {"DATABASE_URL": "g", "OPTUNA_URL": "o", "DAGSTER_DATABASE_URL": "d", "MLFLOW_DATABASE_URL": "m"}


def variables(postgres: Postgres, s3: Settings, name: str, password: str = "first") -> dict[str, str]:
    """Databases and roles of their own, on the session's servers."""
    url = postgres.url("postgres")
    where = url.rpartition("@")[2].partition("/")[0]
    given = {
        f"GENRE_{v}": f"postgresql+psycopg2://{name}{v_}:{password}@{where}/{name}{v_}" for v, v_ in DATABASES.items()
    }
    return {
        **given,
        "GENRE_POSTGRES_ADMIN_URL": url,
        "GENRE_READER_DATABASE_URL": f"postgresql+psycopg2://{name}r:{password}@{where}/{name}g",
        "GENRE_APPENDER_DATABASE_URL": f"postgresql+psycopg2://{name}a:{password}@{where}/{name}g",
        "GENRE_S3_ENDPOINT_URL": str(s3.s3_endpoint_url),
        "GENRE_S3_SECRET_KEY": s3.s3_secret_key.get_secret_value(),
        "GENRE_RAW_BUCKET": f"{name}-raw",
    }


@pytest.fixture
def given(postgres: Postgres, s3_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given = variables(postgres, s3_settings, f"init{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("GENRE_HOME", str(tmp_path))
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    return given


def make(settings: Settings) -> None:
    """The roles and the platform's tables, without those of Dagster and MLflow."""
    make_roles(settings)
    Database(settings.database_url.get_secret_value()).version()
    assert len(list(let_others(settings))) == 2


def test_roles_open_their_own_database_and_no_other_and_the_reader_only_reads(given: dict[str, str]) -> None:
    settings = load_settings()
    make(settings)
    own = Database(settings.database_url.get_secret_value())
    assert own.version() == migrations.HEAD
    make(settings)  # finds all there
    assert own.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [{"rolsuper": False}]
    reader = Database(settings.reader_database_url.get_secret_value(), tables=False)
    assert reader.rows("SELECT * FROM audit") == []
    own.execute("CREATE TABLE later (n int)")
    assert reader.rows("SELECT * FROM later") == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.execute("INSERT INTO later VALUES (1)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.rows("SELECT hash FROM api_keys")
    for url in (settings.database_url, settings.reader_database_url, settings.appender_database_url):
        for other in (given["GENRE_DAGSTER_DATABASE_URL"].rpartition("/")[2], "postgres", "template1"):
            stranger = url.get_secret_value().rpartition("/")[0] + f"/{other}"
            with pytest.raises(Exception, match="permission denied for database"):
                Database(stranger, tables=False).rows("SELECT 1")


def test_a_role_that_nobody_has_made_is_named(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    make_roles(settings)
    monkeypatch.setenv(
        "GENRE_APPENDER_DATABASE_URL", given["GENRE_APPENDER_DATABASE_URL"].replace("a:first", "none:first")
    )
    Database(settings.database_url.get_secret_value()).version()
    with pytest.raises(BadInput, match=r"has no role .*none', which GENRE_APPENDER_DATABASE_URL names"):
        list(let_others(load_settings()))


def test_who_appends_to_the_prediction_log_can_do_nothing_else(given: dict[str, str]) -> None:
    """What a server that is broken into could do with its role: add rows. It sees, changes and drops none."""
    settings = load_settings()
    make(settings)
    appender = Database(settings.appender_database_url.get_secret_value())
    rows = [row(), row(item=1), row(ts=row().ts + 86_400)]
    now = datetime.now(UTC).timestamp()
    assert request_log.insert(appender, [replace(one, ts=now + one.ts - rows[0].ts) for one in rows]) == 3
    assert request_log.insert(appender, [replace(rows[0], ts=now)]) == 0, "it knows its own by their ids"
    own = Database(settings.database_url.get_secret_value())
    assert len(request_log.read(own)) == 3
    day = own.rows("SELECT min(tableoid::regclass::text) AS name FROM served_requests")[0]["name"]
    for forbidden in (
        "SELECT features FROM served_requests", f"SELECT * FROM {day}", "UPDATE served_requests SET label = 'jazz'",
        "DELETE FROM served_requests", f"DROP TABLE {day}", "CREATE TABLE mine (n int)", "SELECT * FROM api_keys",
        "INSERT INTO audit (subject) VALUES ('route')", "UPDATE route_state SET pinned = true", "DROP FUNCTION served_requests_day",
        "COPY served_requests TO PROGRAM 'id'", "CREATE ROLE friend SUPERUSER", "SET ROLE genre", "CREATE TEMP TABLE served_requests (n int)",
    ):  # fmt: skip
        with pytest.raises(psycopg2.Error, match=r"permission denied|must be owner"):
            appender.execute(forbidden)
    for day in ("1900-01-01", "9999-01-01"):
        with pytest.raises(psycopg2.DataError, match="no day of the prediction log"):
            appender.rows("SELECT served_requests_day(%s::date)", (day,))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        Database(settings.reader_database_url.get_secret_value()).rows("SELECT served_requests_day(current_date)")


def test_what_one_superuser_left_is_handed_over_to_the_owners(given: dict[str, str], postgres: Postgres) -> None:
    """Installations of earlier versions: tables, their sequences, types and functions, with their rows."""
    settings = load_settings()
    login = Login.of(settings, "database_url")
    connection = psycopg2.connect(postgres.url("postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {login.database}")
    connection.close()
    left = Database(postgres.url(login.database))
    assert left.version() == migrations.HEAD
    request_log.insert(left, [row()])
    left.execute("CREATE TYPE direction AS ENUM ('up'); CREATE TABLE trials (n serial, d direction); CREATE SEQUENCE s")
    left.execute("CREATE VIEW v AS SELECT * FROM trials")
    make(settings)
    owners = left.rows(
        """SELECT pg_get_userbyid(relowner) AS role FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION SELECT pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace"""
    )
    assert owners == [{"role": login.role}]
    own = Database(settings.database_url.get_secret_value())
    assert len(request_log.read(own)) == 1
    assert own.execute("INSERT INTO trials (d) VALUES ('up')") == 1
    own.execute("ALTER TABLE audit ADD COLUMN later int")  # what a migration does


def test_a_changed_password_is_taken_over(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    make(load_settings())
    monkeypatch.setenv("GENRE_OPTUNA_URL", given["GENRE_OPTUNA_URL"].replace(":first@", ":second@"))
    make(load_settings())
    assert Database(os.environ["GENRE_OPTUNA_URL"], tables=False).rows("SELECT 1 AS n") == [{"n": 1}]


def test_an_address_without_a_password_is_named(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRE_OPTUNA_URL", given["GENRE_OPTUNA_URL"].replace(":first@", ":@"))
    with pytest.raises(BadInput, match=r"GENRE_OPTUNA_URL must name .* genre-assets env"):
        initialise(load_settings())


def test_the_command_does_all_of_it(given: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "genre_assets.stack.containers", "init"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("init: ") == 7
    assert "MLflow's tables are left to others" in done.stdout, "its server makes the first ones"
    settings = load_settings()
    client = s3_client(settings)
    assert ObjectStore(client).has_bucket(settings.raw_bucket)
    client.close()
    dagster = Database(settings.dagster_database_url.get_secret_value(), tables=False)
    assert dagster.rows("SELECT to_regclass('runs')::text AS name") == [{"name": "runs"}]
    assert Database(settings.database_url.get_secret_value(), tables=False).version() == migrations.HEAD


def test_it_says_which_step_failed_and_why(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRE_POSTGRES_ADMIN_URL", "postgresql://postgres:p@127.0.0.1:9/postgres")
    done = subprocess.run(
        [sys.executable, "-m", "genre_assets.stack.containers", "init"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "PostgreSQL lets postgres not in" in done.stderr
    assert "Traceback" not in done.stderr
