"""An installation is brought up with its data, by whoever asks first, once; and what happens when that cannot be."""

import gzip
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from genre_assets import audit, migrations
from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.inference import request_log
from genre_assets.serving.alerts import listing
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.promotion import route_state
from genre_assets.stack.services.postgres import binaries

# pg_dump of what `make demo` of the first version (ab72ec1) left, and five labels that were given afterwards.
FIRST_VERSION = Path(__file__).with_name("first_version.sql.gz")
FOUND = {
    "served_requests": 180, "drift_windows": 6, "route_state": 3, "audit": 4, "alerts": 3, "alert_deliveries": 0,
    "served_labels": 5, "label_files": 1, "retraining_requests": 0,
}  # fmt: skip


def counts(database: Database) -> dict[str, int]:
    """Rows of each of the platform's tables."""
    return {table: database.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in FOUND}


def test_the_head_is_the_newest_version_and_the_versions_are_one_line() -> None:
    script = ScriptDirectory.from_config(migrations.alembic_config())
    assert script.get_heads() == [migrations.HEAD]
    numbers = [revision.revision for revision in script.walk_revisions()]
    assert numbers == sorted(numbers, reverse=True), "processes without Alembic compare the numbers as text"
    assert [Path(revision.path).name[1:5] for revision in script.walk_revisions()] == numbers


def test_an_empty_database_gets_the_tables_when_it_is_first_asked(bare_database: Database) -> None:
    assert Database(bare_database.url, tables=False).version() == ""
    assert counts(bare_database) == dict.fromkeys(FOUND, 0)
    assert bare_database.version() == migrations.HEAD


@pytest.fixture
def first_version(bare_database: Database) -> Database:
    """An installation as the first version left it."""
    put_in(bare_database.url, FIRST_VERSION)
    return bare_database


def put_in(url: str, dump: Path) -> None:
    """Run a compressed dump in a database."""
    restore = [str(binaries() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, url]
    subprocess.run(restore, input=gzip.decompress(dump.read_bytes()), check=True)


def test_an_installation_of_the_first_version_is_brought_up_with_its_data(first_version: Database) -> None:
    old = Database(first_version.url, tables=False)
    assert old.version() == ""
    before = {table: old.rows(f"SELECT * FROM {table} ORDER BY 1") for table in FOUND}

    assert counts(first_version) == FOUND
    assert first_version.version() == migrations.HEAD
    for table, rows in before.items():
        now = first_version.rows(f"SELECT * FROM {table} ORDER BY 1")
        assert [{name: row[name] for name in old_row} for row, old_row in zip(now, rows, strict=True)] == rows, table


def test_the_platform_goes_on_with_what_the_first_version_left(first_version: Database) -> None:
    judged = window_store.newest(first_version, 10)
    assert len(judged) == 6
    assert all(j.level for j in judged)
    assert window_reports.unreported(first_version) == [], "they have been reported, by the version that made them"
    assert route_state.standing(first_version).serving.route == "champion"  # type: ignore[union-attr]
    assert [move.subject for move in audit.history(first_version)].count("route") == 2
    assert len(listing.from_database(first_version, resolved=True)) == 3

    assert len(request_log.read(first_version)) == FOUND["served_requests"]
    assert window_store.cut(first_version, Rules(4, 1, timedelta(seconds=1))) == [], "nothing came since"
    assert route_state.confirm(first_version, "fallback", actor="person", reason="by hand")
    assert audit.history(first_version, limit=1)[0].moved_to == "fallback"


def test_processes_that_come_at_once_bring_it_up_once(bare_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Database(bare_database.url).version(), range(8)))
    assert found == [migrations.HEAD] * 8
    assert bare_database.rows(f"SELECT version_num FROM {migrations.VERSION_TABLE}") == [
        {"version_num": migrations.HEAD}
    ]


def test_what_cannot_be_brought_up_is_left_as_it_was(bare_database: Database) -> None:
    as_it_is = Database(bare_database.url, tables=False)
    as_it_is.execute("CREATE VIEW alerts AS SELECT 1 AS key")  # the last table of the first version
    with pytest.raises(Exception, match="alerts"):
        bare_database.version()
    assert as_it_is.rows("SELECT to_regclass('audit') AS name, to_regclass('served_requests') AS other") == [
        {"name": None, "other": None}
    ]
    as_it_is.execute("DROP VIEW alerts")
    assert bare_database.version() == migrations.HEAD


def test_a_process_without_alembic_says_who_must_bring_the_tables_up_and_waits(
    bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as inside_triton:
        inside_triton.setitem(sys.modules, "alembic", None)
        with pytest.raises(TransientFailure, match="genre-assets migrate"):
            audit.history(bare_database)
    Database(bare_database.url).version()
    monkeypatch.setitem(sys.modules, "alembic", None)
    assert audit.history(bare_database) == []


def test_code_of_yesterday_goes_on_beside_tables_of_tomorrow(database: Database) -> None:
    """While an installation is brought up, servers of the version before still write their logs."""
    database.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    assert audit.history(Database(database.url)) == []
    assert database.version() == "9999"


def test_the_command_says_what_it_brought_up(bare_database: Database, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("genre-assets")), "migrate"]
    environment = {**os.environ, "GENRE_HOME": str(tmp_path), "GENRE_DATABASE_URL": bare_database.url}
    said = [subprocess.run(command, capture_output=True, text=True, env=environment, check=True) for _ in range(2)]
    assert f"the tables are at version {migrations.HEAD} (were at none)" in said[0].stdout + said[0].stderr
    assert "were at" not in said[1].stdout + said[1].stderr
