"""The versions of the tables that the installed libraries know, of each database: read from their migrations, nothing is run."""

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from genre_assets import migrations

Standing = Literal["equal", "older", "newer", "none"]
_FOLDERS = {
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
        package, inside = _FOLDERS[database]
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
