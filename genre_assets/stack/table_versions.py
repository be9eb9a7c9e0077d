"""The versions of the tables of each database: those that are there, and those that the installed libraries know.

The latter are read from the libraries' migrations; none is run or imported.
"""

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genre_assets import migrations
from genre_assets.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class that psycopg2 names in lower case

SETTINGS = {
    "genre": "database_url",
    "optuna": "optuna_url",
    "dagster": "dagster_database_url",
    "mlflow": "mlflow_database_url",
}
CONNECT_SECONDS = 3
_TABLES = {"genre": migrations.VERSION_TABLE}  # the others' is Alembic's own
Standing = Literal["equal", "older", "newer", "none"]
FOLDERS = {
    "dagster": ("dagster", "_core/storage/alembic/versions"),
    "mlflow": ("mlflow", "store/db_migrations/versions"),
    "optuna": ("optuna", "storages/_rdb/alembic/versions"),
}
_REVISION = re.compile(r"^(down_)?revision(?:\s*:[^=]+)?\s*=\s*(.+)$", re.MULTILINE)
_TEXT = re.compile(r"""["']([^"']+)["']""")


@dataclass(frozen=True)
class Known:
    """Every version, and those that no other follows."""

    revisions: frozenset[str]
    heads: frozenset[str]


@cache
def known(database: str) -> Known:
    """What the installed code knows of one of `genre`, `optuna`, `dagster` and `mlflow`."""
    if database == "genre":
        folder = Path(migrations.__file__).parent / "versions"
    else:
        package, inside = FOLDERS[database]
        spec = importlib.util.find_spec(package)  # found without importing: each takes seconds
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0]) / inside
    revisions, followed = set[str](), set[str]()
    for file in folder.glob("*.py"):
        for down, value in _REVISION.findall(file.read_text()):
            (followed if down else revisions).update(_TEXT.findall(value))
    return Known(frozenset(revisions), frozenset(revisions - followed))


def standing(database: str, revision: str) -> Standing:
    """How tables of this version stand to the code. What the code does not know was made by later code."""
    if not revision:
        return "none"
    found = known(database)
    if revision in found.heads:
        return "equal"
    return "older" if revision in found.revisions else "newer"


def stated(settings: Settings, database: str) -> str:
    """The address of a database, as libpq takes it."""
    url: str = getattr(settings, SETTINGS[database]).get_secret_value()
    return re.sub(r"^postgresql\+\w+:", "postgresql:", url)


def read(database: str, url: str) -> str | None:
    """The version of the tables of a database, empty if they have none; None if it does not answer."""
    import psycopg2

    try:
        connection = psycopg2.connect(url, connect_timeout=CONNECT_SECONDS)
    except psycopg2.OperationalError:
        return None
    try:
        return revision(database, connection)
    finally:
        connection.close()


def revision(database: str, connection: "Connection") -> str:
    """The same on a connection that is open."""
    from psycopg2 import sql

    table = _TABLES.get(database, "alembic_version")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{table}",))
        if not (cursor.fetchone() or (False,))[0]:
            return ""
        cursor.execute(sql.SQL("SELECT version_num FROM public.{}").format(sql.Identifier(table)))
        found = cursor.fetchone()
        return str(found[0]) if found else ""
