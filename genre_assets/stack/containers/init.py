"""What must be done once before the services start, and is done again at each start: roles, databases, tables, buckets.

Each step finds what is there and changes nothing then; a password that was changed in `.env` is taken over.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from genre_assets.database import Database
from genre_assets.errors import PermanentFailure
from genre_assets.settings import Settings
from genre_assets.shipped.files import data_file
from genre_assets.stack.services.database_roles import OWNED, Login, let_append, let_read, make_databases, make_role
from genre_assets.store import ObjectStore, s3_client

OTHERS = {
    "reader_database_url": (let_read, "the role that reads"),
    "appender_database_url": (let_append, "the role that appends to the prediction log"),
}
MLFLOW_TABLES = "SELECT to_regclass('alembic_version') AS name"


def initialise(settings: Settings) -> None:
    """Do all of it. Raises `BadInput`, `TransientFailure` or `PermanentFailure` that says which step failed, and why."""
    admin = bool(settings.postgres_admin_url.get_secret_value())
    if admin:
        make_roles(settings)
    _say("databases and roles", done=admin)
    upgrade_dagster(settings)
    _say("Dagster's tables")
    _say("MLflow's tables", done=upgrade_mlflow(settings))
    Database(settings.database_url.get_secret_value()).version()
    _say("the platform's tables")
    for said in let_others(settings):
        _say(said)
    ObjectStore(s3_client(settings)).ensure_buckets(
        settings.raw_bucket,
        settings.clients_bucket,
        settings.features_bucket,
        settings.mlflow_bucket,
        settings.serving_bucket,
    )
    _say("buckets")


def make_roles(settings: Settings) -> None:
    """The databases and their owners, and the roles of those that the settings name beside them."""
    admin = settings.postgres_admin_url.get_secret_value()
    make_databases(admin, [Login.of(settings, name) for name in OWNED])
    for name in OTHERS:
        if getattr(settings, name).get_secret_value():
            make_role(admin, Login.of(settings, name))


def let_others(settings: Settings) -> Iterator[str]:
    """Let the roles beside the owners do what they are for, once the tables are there; yields who may."""
    for name, (let, said) in OTHERS.items():
        if getattr(settings, name).get_secret_value():
            let(settings)
            yield said


def _say(what: str, *, done: bool = True) -> None:
    print(f"init: {what} {'stand' if done else 'are left to others'}", flush=True)


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
