"""The four databases: dumped by pg_dump from one snapshot each, taken at one moment, and put back whole or not at all."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from genre_assets.backup.manifest import Dump
from genre_assets.errors import BadInput, GenreError, PermanentFailure, TransientFailure
from genre_assets.settings import Settings
from genre_assets.stack.services.postgres import binaries
from genre_assets.stack.table_versions import SETTINGS, revision, stated

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class that psycopg2 names in lower case
    from psycopg2.extensions import cursor

# Rows of these tables are work that somebody did. Others are written by services that merely run.
WORK = {
    "genre": ("audit", "served_requests", "served_labels", "drift_windows", "recording_files", "api_keys"),
    "optuna": ("trials",),
    "dagster": ("runs",),
    "mlflow": ("registered_models", "runs"),
}


@dataclass(frozen=True)
class Snapshot:
    """A database as it stands at one moment, for as long as the connection is open."""

    connection: "Connection"
    identifier: str
    size: int  # bytes on the server's disk


def urls(settings: Settings) -> dict[str, str]:
    """The address of each database, as libpq takes it, by its name in the archive."""
    return {name: stated(settings, name) for name in SETTINGS}


@contextmanager
def snapshots(settings: Settings) -> Iterator[dict[str, Snapshot]]:
    """All four, taken one right after the other. Raises `TransientFailure` if the server is away."""
    with ExitStack() as stack:
        found = {}
        for name, url in urls(settings).items():
            connection = _connect(name, url)
            stack.callback(connection.close)
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_export_snapshot(), pg_database_size(current_database())")
                identifier, size = _row(cursor)
                found[name] = Snapshot(connection, identifier, size)
        yield found


def dump(name: str, url: str, snapshot: Snapshot, file: Path, tool_folder: Path) -> Dump:
    """Write one database into `file`, compressed. Raises `PermanentFailure` with what pg_dump said."""
    rows = counts(snapshot.connection)
    if not rows:
        raise BadInput(f"the database {name} has no tables: was the stack ever up? genre-assets status")
    command = [
        str(tool_folder / "pg_dump"), "--format=custom", "--no-owner", "--no-privileges", "--schema=public",
        f"--snapshot={snapshot.identifier}", f"--file={file}", *_where(url),
    ]  # fmt: skip
    _run(command, url, f"pg_dump of the database {name}")
    with file.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Dump(f"databases/{name}.dump", file.stat().st_size, digest, revision(name, snapshot.connection), rows)


def put_back(name: str, url: str, file: Path, tool_folder: Path, scratch: Path) -> None:
    """Replace all tables of a database by those of a dump, in one transaction. Raises `PermanentFailure`."""
    script = scratch / f"{name}.sql"
    read = [str(tool_folder / "pg_restore"), "--no-owner", "--no-privileges", f"--file={script}", str(file)]
    _run(read, url, f"pg_restore of the database {name}")
    # The dump of a schema names it, and its comment is its owner's alone.
    made = re.compile(rb"^(CREATE SCHEMA public;|COMMENT ON SCHEMA public IS .*;)$")
    wanted = script.with_suffix(".wanted")
    with script.open("rb") as lines, wanted.open("wb") as kept:
        kept.writelines(line for line in lines if not made.match(line.rstrip(b"\n")))
    script.unlink()
    write = [
        str(tool_folder / "psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1",
        f"--output={os.devnull}", *_where(url), "--command=SET client_min_messages = warning",
        "--command=DROP SCHEMA IF EXISTS public CASCADE", "--command=CREATE SCHEMA public", f"--file={wanted}",
    ]  # fmt: skip
    _run(write, url, f"the restore of the database {name} (nothing of it was changed)")
    wanted.unlink()


def tools(server: int) -> Path:
    """Folder of pg_dump, pg_restore and psql that are not older than the server. Raises `PermanentFailure` if there is none."""
    seen = []
    for folder in _tool_folders():
        if any(not (folder / tool).exists() for tool in ("pg_dump", "pg_restore", "psql")):
            continue
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\) (\d+)", said)
        if found and int(found[1]) >= server:
            return folder
        seen.append(f"{folder / 'pg_dump'} is {said.strip() or 'broken'}")
    raise PermanentFailure(
        f"pg_dump, pg_restore and psql of PostgreSQL {server} or later are needed, since the server is of that version"
        f"{' (' + '; '.join(seen) + ')' if seen else ''}: install postgresql-client-{server}, or in a checkout: make setup"
    )


def server_version(settings: Settings) -> int:
    """The newest major version among the servers of the four databases."""
    found = []
    for name, url in urls(settings).items():
        connection = _connect(name, url)
        found.append(connection.server_version // 10_000)
        connection.close()
    return max(found)


def look(settings: Settings) -> dict[str, tuple[dict[str, int], list[str], str]]:
    """Rows of each table, who else is connected, and the version of the tables, by database."""
    found = {}
    for name, url in urls(settings).items():
        connection = _connect(name, url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT DISTINCT coalesce(nullif(application_name, ''), usename, 'somebody') FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                others = [row[0] for row in cursor.fetchall()]
            found[name] = (counts(connection), others, revision(name, connection))
        finally:
            connection.close()
    return found


def counts(connection: "Connection") -> dict[str, int]:
    """Rows of each table."""
    from psycopg2 import sql

    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        tables = [row[0] for row in cursor.fetchall()]
        found = {}
        for table in tables:
            cursor.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table)))
            found[table] = int(_row(cursor)[0])
        return found


def _tool_folders() -> Iterator[Path]:
    with suppress(GenreError):  # an installation whose server is elsewhere has none of its own
        yield binaries()
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)


def _connect(name: str, url: str) -> "Connection":
    import psycopg2

    try:
        return psycopg2.connect(url, connect_timeout=5, application_name="genre-assets backup")
    except psycopg2.OperationalError as error:
        raise TransientFailure(
            f"the database {name} (GENRE_{SETTINGS[name].upper()}) does not answer: {str(error).strip()}"
        ) from error


def _row(cursor: "cursor") -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def _where(url: str) -> list[str]:
    """Options that say which database, without the password, which every user of the machine could read."""
    parts = urlsplit(url)
    host = f"{parts.username}@{parts.hostname}" if parts.username else f"{parts.hostname}"
    shown = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host)
    return [f"--dbname={shown.geturl()}"]


def _run(command: list[str], url: str, what: str) -> None:
    password = unquote(urlsplit(url).password or "")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password:
        environment["PGPASSWORD"] = password
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermanentFailure(f"{what} failed: {done.stderr.strip()[-800:] or f'exit code {done.returncode}'}")
