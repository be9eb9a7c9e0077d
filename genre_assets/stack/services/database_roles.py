"""Who may do what in PostgreSQL: owners that open one database each, one role that reads, one that appends to the log.

None is a superuser. Each function finds what is there and changes nothing then; a password that was changed is taken over.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from genre_assets import migrations
from genre_assets.errors import BadInput, TransientFailure
from genre_assets.inference.request_log import TABLE
from genre_assets.settings import Settings

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

OWNED = ("database_url", "optuna_url", "dagster_database_url", "mlflow_database_url")
# What an installation left that had one superuser for all. An index, a column's sequence and a table's type go with their table.
NOT_OWNED = """
SELECT format('ALTER %%s %%s OWNER TO %%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
    WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, oid::regclass, %(role)s::text) AS statement
FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
    AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype IN ('a', 'i', 'e') AND relkind = 'S')
UNION ALL
SELECT format('ALTER TYPE %%s OWNER TO %%I', oid::regtype, %(role)s::text) FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd') AND typowner <> (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
UNION ALL
SELECT format('ALTER ROUTINE %%s OWNER TO %%I', oid::regprocedure, %(role)s::text) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proowner <> (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
"""
READING = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
    "REVOKE ALL ON api_keys FROM {role}",
)
# The log knows a row that it has by its id, and whether the tables are of its version by theirs. It sees nothing else.
APPENDING = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA public TO {role}",
    f"GRANT SELECT ON {migrations.VERSION_TABLE} TO {{role}}",
    f"GRANT INSERT, SELECT (id) ON {TABLE} TO {{role}}",
    f"GRANT EXECUTE ON FUNCTION {TABLE}_day(date) TO {{role}}",
)


@dataclass(frozen=True)
class Login:
    """What an address says of a role and its database."""

    role: str
    password: str
    database: str

    @classmethod
    def of(cls, settings: Settings, name: str) -> "Login":
        """That of a setting. Raises `BadInput` that names it if something is missing in the address."""
        parts = urlsplit(getattr(settings, name).get_secret_value())
        found = cls(unquote(parts.username or ""), unquote(parts.password or ""), parts.path.strip("/"))
        if not (found.role and found.password and found.database):
            raise BadInput(
                f"GENRE_{name.upper()} must name a role, its password and a database: write .env with genre-assets env"
            )
        return found


def make_databases(admin: str, logins: Iterable[Login]) -> None:
    """A database for each use, owned with all that is in it by a role that can open no other.

    `admin` is the address of a superuser. Raises `TransientFailure` without the server.
    """
    from psycopg2 import sql

    with _session(admin) as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1')")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    for login in logins:
        database, role = sql.Identifier(login.database), sql.Identifier(login.role)
        with _session(admin) as cursor:
            _make_role(cursor, login)
            cursor.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (login.database,))
            owner = cursor.fetchone()
            if owner is None:
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
            elif owner[0] != login.role:
                cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        if owner is not None:
            _hand_over(admin, login)


def _hand_over(admin: str, login: Login) -> None:
    """Let the role own what is in its database. All of it or nothing."""
    with _session(urlsplit(admin)._replace(path=f"/{login.database}").geturl(), whole=True) as cursor:
        cursor.execute(NOT_OWNED, {"role": login.role})
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)


def make_role(admin: str, login: Login) -> None:
    """A role that can log in and do nothing yet."""
    with _session(admin) as cursor:
        _make_role(cursor, login)


def let_read(settings: Settings) -> None:
    """Let the reader's role read the platform's tables, those to come too, and no hash of a key. The tables are there."""
    _grant(settings, "reader_database_url", READING)


def let_append(settings: Settings) -> None:
    """Let the appender's role add rows to the prediction log, and do nothing else. The tables are there."""
    _grant(settings, "appender_database_url", APPENDING)


def _grant(settings: Settings, name: str, statements: Iterable[str]) -> None:
    """As the owner of the tables, since there need be no superuser. Raises `BadInput` where nobody has made the role."""
    from psycopg2 import sql
    from psycopg2.errors import UndefinedObject

    role, owner = Login.of(settings, name).role, Login.of(settings, "database_url")
    names = {
        "role": sql.Identifier(role), "owner": sql.Identifier(owner.role), "database": sql.Identifier(owner.database),
    }  # fmt: skip
    with _session(settings.database_url.get_secret_value(), whole=True) as cursor:
        try:
            for statement in statements:
                cursor.execute(sql.SQL(statement).format(**names))
        except UndefinedObject as error:
            raise BadInput(
                f"PostgreSQL has no role {role!r}, which GENRE_{name.upper()} names: let a superuser make it (CREATE ROLE "
                f'"{role}" LOGIN PASSWORD ...), or state GENRE_POSTGRES_ADMIN_URL, or leave the setting empty'
            ) from error


@contextmanager
def _session(url: str, *, whole: bool = False) -> Iterator["cursor"]:
    """A cursor; each statement for itself (CREATE DATABASE cannot run in a transaction), or the `whole` at once."""
    import psycopg2

    try:
        connection = psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://"), connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise TransientFailure(f"PostgreSQL lets {urlsplit(url).username} not in: {str(error).strip()}") from error
    connection.autocommit = not whole
    try:
        with connection.cursor() as cursor:
            yield cursor
        if whole:
            connection.commit()
    finally:
        connection.close()


def _make_role(cursor: "cursor", login: Login) -> None:
    from psycopg2 import sql

    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login.role,))
    verb = "CREATE" if cursor.fetchone() is None else "ALTER"
    statement = f"{verb} ROLE {{}} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %s"
    cursor.execute(sql.SQL(statement).format(sql.Identifier(login.role)), (login.password,))
