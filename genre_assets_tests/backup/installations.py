"""Installations without services of their own: four databases of the session's PostgreSQL, and an S3 server each."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from genre_assets import audit
from genre_assets.backup.places import own_buckets
from genre_assets.database import Database
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.stack.table_versions import known
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.conftest import _create_database, _execute, free_port, running

NAMES = {
    "genre": "DATABASE_URL",
    "optuna": "OPTUNA_URL",
    "dagster": "DAGSTER_DATABASE_URL",
    "mlflow": "MLFLOW_DATABASE_URL",
}
OBJECTS = {
    ("raw", "rock/a b+c%20.wav"): b"RIFF of rock",
    ("raw", "jazz/\u00fc \u65e5\u672c.mp3"): b"of jazz",
    ("raw", "jazz/the same.mp3"): b"of jazz",
    ("raw", "labels.yaml"): b"labels: []\n",
    ("clients", "raw/2026-11-01/empty.wav"): b"",
    ("features", "features/default/genre=rock/part.parquet"): b"PAR1" * 70_000,
    ("mlflow", "1/abc/artifacts/model.onnx"): bytes(range(256)) * 40,
    ("serving", "drift/w1/report.json"): b"{}",
}


@dataclass(frozen=True)
class Installation:
    """Where it is, as the environment of a command states it."""

    environment: Mapping[str, str]
    settings: Settings
    store: ObjectStore
    urls: Mapping[str, str]

    def sql(self, name: str, statement: str) -> list[tuple[Any, ...]]:
        """Run statements in one of its databases."""
        connection = psycopg2.connect(self.urls[name])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables of all four."""
        found = {}
        for name in NAMES:
            tables = self.sql(name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables:
                found[f"{name}.{table}"] = sorted(self.sql(name, f'SELECT * FROM "{table}"'), key=repr)
        return found

    def objects(self) -> dict[tuple[str, str], bytes]:
        """All objects with their bytes."""
        return {
            (role, entry.key): self.store.get_bytes(bucket, entry.key)
            for role, bucket in own_buckets(self.settings).items()
            for entry in self.store.list(bucket)
            if not entry.key.startswith("health/")
        }

    def fill(self) -> None:
        """Rows in all four databases, as their owners version them, and objects in all five buckets."""
        database = Database(self.urls["genre"])
        for moved_to in ("champion", "fallback"):
            audit.record(
                database, "route", moved_from=None, moved_to=moved_to, actor="ann", reason="caf\u00e9; it's\n\\N"
            )
        for name, table in (("optuna", "trials"), ("dagster", "runs"), ("mlflow", "registered_models")):
            head = min(known(name).heads)
            self.sql(
                name,
                f"CREATE TYPE state AS ENUM ('on', 'off'); CREATE TABLE {table} (id serial PRIMARY KEY, body text, is_a state);"
                f"INSERT INTO {table} (body, is_a) SELECT repeat('x', n), 'on' FROM generate_series(1, 50) n;"
                f"COMMENT ON TABLE {table} IS 'what was done'; CREATE TABLE alembic_version (version_num text PRIMARY KEY);"
                f"INSERT INTO alembic_version VALUES ('{head}')",
            )
        for (role, key), data in OBJECTS.items():
            self.store.put_bytes(own_buckets(self.settings)[role], key, data)


@contextmanager
def installation(home: Path, postgres: Postgres, **databases: str) -> Iterator[Installation]:
    """An empty one; `databases` are names of databases that are there, instead of new ones."""
    made = {name: databases.get(name) or _create_database(postgres) for name in NAMES}
    urls = {name: postgres.url(database) for name, database in made.items()}
    port = free_port()
    stated = {
        **{f"GENRE_{NAMES[name]}": url for name, url in urls.items()},
        "GENRE_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "GENRE_S3_SECRET_KEY": uuid.uuid4().hex,
        "GENRE_HOME": str(home),
    }
    values = {name.removeprefix("GENRE_").lower(): value for name, value in stated.items() if name != "GENRE_HOME"}
    settings = load_settings(home, s3_port=port, **values)
    served = settings.model_copy(update={"home": home.with_name(f"{home.name}-s3")})
    try:
        with running(S3(served)):
            store = ObjectStore(s3_client(settings))
            yield Installation(stated, settings, store, urls)
            store.client.close()
    finally:
        for name, database in made.items():
            if name not in databases:
                _execute(postgres, f"DROP DATABASE {database} WITH (FORCE)")
