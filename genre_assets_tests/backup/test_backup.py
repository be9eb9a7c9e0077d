"""`genre-assets backup` and `restore`: what is put back is what was there, and what cannot be is refused before it begins."""

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner

from genre_assets import migrations
from genre_assets.cli import app
from genre_assets.database import Database
from genre_assets.stack.services.postgres import Postgres
from genre_assets_tests.backup.installations import OBJECTS, Installation, installation
from genre_assets_tests.migrations.test_migrations import FIRST_VERSION, FOUND, counts, put_in


@pytest.fixture(scope="module")
def filled(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with data, which no test changes but by putting back what it has."""
    with installation(tmp_path_factory.mktemp("filled") / "home", postgres) as one:
        one.fill()
        yield one


@pytest.fixture(scope="module")
def archive(filled: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it, which no test changes."""
    place = tmp_path_factory.mktemp("archive") / "kept"
    command(filled, "backup", place)
    return place


@pytest.fixture
def empty(postgres: Postgres, tmp_path: Path) -> Iterator[Installation]:
    """A new installation."""
    with installation(tmp_path / "home", postgres) as one:
        yield one


def command(on: Installation, *words: object, code: int = 0) -> str:
    """What the command said, in one line, whatever it wrapped."""
    done = CliRunner().invoke(app, [str(word) for word in words], env=dict(on.environment))
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def copied(archive: Path, to: Path) -> Path:
    for file in [path for path in archive.rglob("*") if path.is_file()]:
        target = to / file.relative_to(archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return to


def test_what_is_restored_is_what_was_there(filled: Installation, empty: Installation, archive: Path) -> None:
    manifest = json.loads((archive / "backup.json").read_text())
    assert manifest["objects"] == len(OBJECTS)
    assert manifest["databases"]["genre"]["revision"] == migrations.HEAD
    said = command(empty, "restore", archive)
    assert empty.rows() == filled.rows()
    assert empty.objects() == filled.objects() == OBJECTS
    assert re.search(
        r"4 databases with \d+ rows, 8 objects .* in [\d.]+ s; no release serves when the stack is started$", said
    )
    empty.sql("mlflow", "INSERT INTO registered_models (body) VALUES ('new')")  # its sequence goes on
    assert empty.sql("mlflow", "SELECT max(id) FROM registered_models") == [(51,)]
    assert empty.sql("mlflow", "SELECT obj_description('registered_models'::regclass)") == [("what was done",)]


def test_an_archive_is_its_owners_alone_and_holds_no_secret_unless_asked(filled: Installation, tmp_path: Path) -> None:
    secret = filled.environment["GENRE_S3_SECRET_KEY"]
    password = filled.urls["genre"].split(":")[2].split("@")[0]
    said = command(filled, "backup", tmp_path / "without")
    assert said.endswith("no secrets are in it")
    for file in (path for path in (tmp_path / "without").rglob("*") if path.is_file()):
        assert secret.encode() not in file.read_bytes(), file
        assert password.encode() not in file.read_bytes(), file
    assert command(filled, "backup", tmp_path / "with", "--with-secrets").endswith("secrets are in it")
    assert f"GENRE_S3_SECRET_KEY={secret}\n" in (tmp_path / "with" / "secrets.env").read_text()
    for path in [tmp_path / "with", *(tmp_path / "with").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_an_archive_in_a_bucket_takes_the_place_of_what_came_after_it(filled: Installation) -> None:
    filled.store.ensure_buckets("kept-elsewhere")
    before = filled.rows()
    command(filled, "backup", "s3://kept-elsewhere/nightly/1")
    filled.sql("dagster", "INSERT INTO runs (body) VALUES ('later'); CREATE TABLE later (id int)")
    filled.store.put_bytes(filled.settings.raw_bucket, "rock/later.wav", b"later")
    refused = command(filled, "restore", "s3://kept-elsewhere/nightly/1", code=1)
    assert "this installation is not empty (2 rows in audit of genre; " in refused
    assert "9 objects in the buckets): restore into a new one (GENRE_HOME), or give --replace" in refused
    assert "1 objects that were there before removed" in command(
        filled, "restore", "s3://kept-elsewhere/nightly/1", "--replace"
    )
    assert filled.rows() == before
    assert filled.objects() == OBJECTS


def cut_off(archive: Path) -> None:
    dump = archive / "databases" / "mlflow.dump"
    dump.write_bytes(dump.read_bytes()[:-1])


def other_bytes(archive: Path) -> None:
    largest = max((archive / "objects").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    largest.write_bytes(largest.read_bytes().replace(b"P", b"Q", 1))


def missing(archive: Path) -> None:
    next(path for path in (archive / "objects").rglob("*") if path.is_file()).unlink()


def other_list(archive: Path) -> None:
    (archive / "objects.jsonl").write_text((archive / "objects.jsonl").read_text().replace("rock/", "pop/"))


def no_manifest(archive: Path) -> None:
    (archive / "backup.json").unlink()


def half_a_manifest(archive: Path) -> None:
    (archive / "backup.json").write_text((archive / "backup.json").read_text()[:200])


def edited(**changes: object) -> Callable[[Path], None]:
    def edit(archive: Path) -> None:
        file = archive / "backup.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    edit.__name__ = "edited " + " ".join(changes)
    return edit


def later_tables(archive: Path) -> None:
    file = archive / "backup.json"
    manifest = json.loads(file.read_text())
    manifest["databases"]["mlflow"]["revision"] = "f00f00f00f00"
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_off, r"is damaged: 1 of its files are missing or changed \(databases/mlflow\.dump\)\. Nothing was changed"),
        (other_bytes, r"is damaged: 1 of its files are missing or changed \(objects/\w\w/\w+\)"),
        (missing, r"is damaged: 1 of its files are missing or changed \(objects/\w\w/\w+\)"),
        (other_list, r"is damaged: 1 of its files are missing or changed \(objects\.jsonl\)"),
        (no_manifest, r"is a backup that broke off: backup\.json, which is written last, is not there"),
        (half_a_manifest, r"backup\.json is damaged .*: take another backup"),
        (edited(format=99), r"was made by later code \(genre-assets [\d.]+\S*\): restore it with that version"),
        (later_tables, r"is of later code than this: its tables of mlflow are at version f00f00f00f00, this code knows them up to"),
        (edited(server=99), r"is of PostgreSQL 99, here is \d+: restore into a server of that version or later"),
        (edited(buckets={"raw": "others"}), r"the bucket is others in .* and genre-raw here, .* set GENRE_RAW_BUCKET=others"),
        (
            edited(release="r1", public_key="QUJD"),
            r"are signed by another stack's key .* GENRE_RELEASE_PUBLIC_KEYS=QUJD, or restore with --sign",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_what_is_not_whole_or_does_not_fit_is_refused_before_anything_is_touched(
    filled: Installation, archive: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    """In the place of data that is there: nothing of it goes."""
    before = (filled.rows(), filled.objects())
    spoilt = copied(archive, tmp_path / "spoilt")
    spoil(spoilt)
    keyed = Installation({**filled.environment, "GENRE_RELEASE_KEY": "own"}, filled.settings, filled.store, filled.urls)
    assert re.search(said, command(keyed, "restore", spoilt, "--replace", code=1))
    assert (filled.rows(), filled.objects()) == before


def test_services_that_are_at_work_are_named_and_nothing_is_restored(filled: Installation, archive: Path) -> None:
    at_work = psycopg2.connect(filled.urls["mlflow"], application_name="mlflow server")
    try:
        said = command(filled, "restore", archive, "--replace", code=1)
    finally:
        at_work.close()
    assert "the database mlflow is in use (mlflow server): stop every service but PostgreSQL and S3" in said


def test_a_place_with_something_else_is_left_alone_and_a_backup_that_broke_off_goes_on(
    filled: Installation, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    assert "photos holds other files: name a new or an empty place" in command(
        filled, "backup", tmp_path / "photos", code=1
    )
    assert "is a whole backup already: name another place" in command(filled, "backup", archive, code=1)
    assert "it must be none of the platform's own" in command(filled, "backup", "s3://genre-raw/x", code=1)
    assert "there is no bucket nowhere at http" in command(filled, "backup", "s3://nowhere/x", code=1)
    broken_off = copied(archive, tmp_path / "broken off")
    no_manifest(broken_off)
    missing(broken_off)
    (broken_off / ".parts").mkdir()
    (broken_off / ".parts" / "half").write_bytes(b"half")
    command(filled, "backup", broken_off)
    names = {str(path.relative_to(archive)) for path in archive.rglob("*")}
    assert {str(path.relative_to(broken_off)) for path in broken_off.rglob("*")} == names


def test_what_earlier_code_has_left_is_restored_and_brought_up(
    filled: Installation, empty: Installation, tmp_path: Path
) -> None:
    """The platform's tables as the first version left them (ab72ec1), and nothing is lost on the way."""
    old = tmp_path / "old"
    for name in ("optuna", "dagster", "mlflow"):
        empty.sql(name, "CREATE TABLE alembic_version (version_num text)")
        head = filled.sql(name, "SELECT version_num FROM alembic_version")[0][0]
        empty.sql(name, f"INSERT INTO alembic_version VALUES ('{head}')")
    put_in(empty.urls["genre"], FIRST_VERSION)
    before = empty.sql("genre", "SELECT request_id, item FROM served_requests ORDER BY 1, 2")
    command(empty, "backup", old)
    assert json.loads((old / "backup.json").read_text())["databases"]["genre"]["revision"] == ""
    assert "bringing up the tables of genre, which earlier code made" in command(empty, "restore", old, "--replace")
    database = Database(empty.urls["genre"], tables=False)
    assert database.version() == migrations.HEAD
    assert counts(database) == FOUND
    assert empty.sql("genre", "SELECT request_id, item FROM served_requests ORDER BY 1, 2") == before
