"""What must be done once before the services start, and is done again at each start: roles, databases, tables, buckets.

Each step finds what is there and changes nothing then; a password that was changed in `.env` is taken over.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from genre_assets.database import Database
from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.settings import Settings
from genre_assets.shipped.files import data_file
from genre_assets.store import ObjectStore, s3_client

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class that psycopg2 names in lower case

MLFLOW_TABLES = "SELECT to_regclass('alembic_version') AS name"


@dataclass(frozen=True)
class Login:
    """What an address says of a role and its database."""

    role: str
    password: str
    database: str

    @classmethod
    def of(cls, name: str, url: str) -> "Login":
        """Raises `BadInput` that names the setting if something is missing in the address."""
        parts = urlsplit(url)
        found = cls(unquote(parts.username or ""), unquote(parts.password or ""), parts.path.strip("/"))
        if not (found.role and found.password and found.database):
            raise BadInput(
                f"GENRE_{name.upper()} must name a role, its password and a database: write .env with genre-assets env"
            )
        return found


def initialise(settings: Settings) -> None:
    """Do all of it. Raises `BadInput`, `TransientFailure` or `PermanentFailure` that says which step failed, and why."""
    admin = settings.postgres_admin_url.get_secret_value()
    if admin:
        make_databases(settings)
    _say("databases and roles", done=bool(admin))
    upgrade_dagster(settings)
    _say("Dagster's tables")
    _say("MLflow's tables", done=upgrade_mlflow(settings))
    Database(settings.database_url.get_secret_value()).version()
    _say("the platform's tables")
    if admin and settings.reader_database_url.get_secret_value():
        let_read(settings)
        _say("the role that reads")
    ObjectStore(s3_client(settings)).ensure_buckets(
        settings.raw_bucket,
        settings.clients_bucket,
        settings.features_bucket,
        settings.mlflow_bucket,
        settings.serving_bucket,
    )
    _say("buckets")


def _say(what: str, *, done: bool = True) -> None:
    print(f"init: {what} {'stand' if done else 'are left to others'}", flush=True)


def logins(settings: Settings) -> Iterator[Login]:
    """The role of each database, as the settings name them."""
    for name in ("database_url", "optuna_url", "dagster_database_url", "mlflow_database_url"):
        yield Login.of(name, getattr(settings, name).get_secret_value())


def make_databases(settings: Settings) -> None:
    """A database for each use, owned by a role that can open no other. Raises `TransientFailure` without the server."""
    from psycopg2 import sql

    connection = _connect(settings.postgres_admin_url.get_secret_value())
    try:
        with connection.cursor() as cursor:
            for login in logins(settings):
                _make_role(connection, login)
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (login.database,))
                database, role = sql.Identifier(login.database), sql.Identifier(login.role)
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
                cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    finally:
        connection.close()


def let_read(settings: Settings) -> None:
    """Let the reader's role read the platform's tables, those to come too, and open no other database."""
    from psycopg2 import sql

    reader = Login.of("reader_database_url", settings.reader_database_url.get_secret_value())
    owner = Login.of("database_url", settings.database_url.get_secret_value())
    connection = _connect(_same_server(settings.postgres_admin_url.get_secret_value(), reader.database))
    try:
        _make_role(connection, reader)
        names = {
            "reader": sql.Identifier(reader.role),
            "owner": sql.Identifier(owner.role),
            "database": sql.Identifier(reader.database),
        }
        with connection.cursor() as cursor:
            for statement in (
                "GRANT CONNECT ON DATABASE {database} TO {reader}",
                "GRANT USAGE ON SCHEMA public TO {reader}",
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}",
            ):
                cursor.execute(sql.SQL(statement).format(**names))
    finally:
        connection.close()


def _connect(url: str) -> "Connection":
    import psycopg2

    try:
        connection = psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://"), connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise TransientFailure(f"PostgreSQL does not take GENRE_POSTGRES_ADMIN_URL: {str(error).strip()}") from error
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    return connection


def _make_role(connection: "Connection", login: Login) -> None:
    from psycopg2 import sql

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login.role,))
        verb = "CREATE" if cursor.fetchone() is None else "ALTER"
        statement = f"{verb} ROLE {{}} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %s"
        cursor.execute(sql.SQL(statement).format(sql.Identifier(login.role)), (login.password,))


def _same_server(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def upgrade_dagster(settings: Settings) -> None:
    """Make Dagster's tables, or bring those of an earlier version up."""
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_bytes(data_file("dagster.yaml").read_bytes())
    url = settings.dagster_database_url.get_secret_value()
    _run("dagster", "instance", "migrate", DAGSTER_HOME=str(folder), GENRE_DAGSTER_DATABASE_URL=url)


def upgrade_mlflow(settings: Settings) -> bool:
    """Bring MLflow's tables up; where there are none its server makes them when it starts, and this returns false."""
    url = settings.mlflow_database_url.get_secret_value()
    if Database(url, tables=False).rows(MLFLOW_TABLES)[0]["name"] is None:
        return False
    _run("mlflow", "db", "upgrade", url)
    return True


def _run(program: str, *arguments: str, **variables: str) -> None:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise PermanentFailure(f"{program} {arguments[0]} {arguments[1]} failed: {said}")
