"""The platform's tables and their versions, by Alembic. `Database` brings an installation up by itself when it is first used.

Add here: how versions are run; the versions themselves are in `versions`.
Not here: statements of daily work (each table's own module has them); the tables of Dagster, MLflow and Optuna.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.errors import TransientFailure

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0009"  # the newest of `versions`: processes without Alembic compare it, too
VERSION_TABLE = "genre_assets_version"
LOCK = 20261123  # any constant: one installation is brought up by one process at a time


def upgrade(url: str) -> None:
    """Bring the tables of this database up to `HEAD`, all of it or nothing; waits for another process that does.

    Raises `TransientFailure` where Alembic is not installed (inside of Triton), or the server does not do it.
    """
    try:
        from alembic import command
        from sqlalchemy import NullPool, create_engine, text
        from sqlalchemy.exc import OperationalError
    except ImportError as error:
        raise TransientFailure(
            f"the tables of the database are not at version {HEAD} yet; bring them up with: genre-assets migrate"
        ) from error
    config = alembic_config()
    driven = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    try:
        engine = create_engine(driven, poolclass=NullPool, connect_args={"connect_timeout": 5})
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise TransientFailure(
            f"the tables of the database could not be brought up ({error.orig}); try again"
        ) from error


def alembic_config() -> "Config":
    """Where Alembic finds the versions."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
