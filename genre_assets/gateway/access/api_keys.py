"""The table `api_keys`: who may ask the gateway, for what, how often and how much. Of a key only its hash is kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from genre_assets.database import Database
from genre_assets.errors import BadInput

PREFIX = "ga_"  # so that people and secret scanners see what it is
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_COLUMNS = "name, scopes, per_minute, max_mb, created_at, created_by, revoked_at, used_at"


class Scope(StrEnum):
    """What a key is for. Each stands for itself: one who labels need not be able to move the route."""

    PREDICT = "predict"
    LABEL = "label"
    OPERATE = "operate"


@dataclass(frozen=True)
class ApiKey:
    """A key as the table holds it. `per_minute` counts requests, `max_mb` is of one request; None: no limit of its own."""

    name: str
    scopes: frozenset[Scope]
    per_minute: int | None = None
    max_mb: float | None = None
    created_at: datetime | None = None
    created_by: str = ""
    revoked_at: datetime | None = None
    used_at: datetime | None = None


def create(
    database: Database,
    name: str,
    scopes: frozenset[Scope],
    *,
    by: str,
    per_minute: int | None = None,
    max_mb: float | None = None,
) -> str:
    """Make a key and return it: it is shown this once. The name of a revoked key may be used again.

    Raises `BadInput` for a name that is taken or no name, no scope, or a limit that is not above zero.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name[:80]!r} is no name of a key: letters, digits and . _ @ -, up to 64 of them")
    if not scopes:
        raise BadInput(f"a key needs at least one scope: {', '.join(Scope)}")
    if any(limit is not None and not limit > 0 for limit in (per_minute, max_mb)):
        raise BadInput("the limits of a key are above zero")
    key = PREFIX + secrets.token_urlsafe(32)
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM api_keys WHERE name = %s AND revoked_at IS NOT NULL", (name,))
        cursor.execute(
            """INSERT INTO api_keys (name, hash, scopes, per_minute, max_mb, created_by)
            VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING""",
            (name, _hash(key), " ".join(sorted(scopes)), per_minute, max_mb, by),
        )
        if not cursor.rowcount:
            raise BadInput(f"there is a key {name!r}; revoke it first: genre-assets api-keys revoke {name}")
    return key


def revoke(database: Database, name: str) -> None:
    """From now on nobody is let in by it. Raises `BadInput` if there is no such key, or it is revoked already."""
    if not database.execute("UPDATE api_keys SET revoked_at = now() WHERE name = %s AND revoked_at IS NULL", (name,)):
        raise BadInput(f"there is no key {name!r} that is in force; see: genre-assets api-keys")


def listed(database: Database) -> list[ApiKey]:
    """Every key, revoked ones too, the newest first."""
    rows = database.rows(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at DESC, name")  # noqa: S608  # a constant
    return [_of_row(row) for row in rows]


def find(database: Database, key: str) -> ApiKey | None:
    """The key in force that this is, noting that it is used; None if there is none."""
    if not key.startswith(PREFIX):
        return None
    with database.transaction() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM api_keys WHERE hash = %s AND revoked_at IS NULL",  # noqa: S608  # a constant
            (_hash(key),),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        found = _of_row(dict(row))
        cursor.execute(
            "UPDATE api_keys SET used_at = now() WHERE name = %s AND (used_at IS NULL OR used_at < now() - interval '1 minute')",
            (found.name,),
        )
        return found


def _hash(key: str) -> str:
    """Of 256 random bits: nothing that a slow hash would protect can be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def _of_row(row: dict[str, object]) -> ApiKey:
    scopes = frozenset(map(Scope, str(row["scopes"]).split()))
    return ApiKey(**{**row, "scopes": scopes})  # type: ignore[arg-type]
