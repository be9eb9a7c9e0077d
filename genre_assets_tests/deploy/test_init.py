"""The one-shot `init` of docker-compose.yaml, over a real PostgreSQL and a real S3: what it makes, and that it makes it once."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg2
import pytest

from genre_assets import migrations
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.containers.init import initialise, let_read, make_databases
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore, s3_client

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


def test_roles_open_their_own_database_and_no_other_and_the_reader_only_reads(given: dict[str, str]) -> None:
    settings = load_settings()
    make_databases(settings)
    own = Database(settings.database_url.get_secret_value())
    assert own.version() == migrations.HEAD
    let_read(settings)
    make_databases(settings)  # finds all there
    let_read(settings)
    assert own.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [{"rolsuper": False}]
    reader = Database(settings.reader_database_url.get_secret_value(), tables=False)
    assert reader.rows("SELECT * FROM audit") == []
    own.execute("CREATE TABLE later (n int)")
    assert reader.rows("SELECT * FROM later") == []
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.execute("INSERT INTO later VALUES (1)")
    for url in (settings.database_url, settings.reader_database_url):
        stranger = (
            url.get_secret_value().rpartition("/")[0] + "/" + given["GENRE_DAGSTER_DATABASE_URL"].rpartition("/")[2]
        )
        with pytest.raises(Exception, match="permission denied for database"):
            Database(stranger, tables=False).rows("SELECT 1")


def test_a_changed_password_is_taken_over(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_databases(load_settings())
    monkeypatch.setenv("GENRE_OPTUNA_URL", given["GENRE_OPTUNA_URL"].replace(":first@", ":second@"))
    make_databases(load_settings())
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
    assert done.stdout.count("init: ") == 6
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
    assert "PostgreSQL does not take GENRE_POSTGRES_ADMIN_URL" in done.stderr
    assert "Traceback" not in done.stderr
