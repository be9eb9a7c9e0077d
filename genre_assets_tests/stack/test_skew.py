"""`genre-assets doctor` and `status` say where code, databases, environment and release do not fit together, and what to do."""

import hashlib
import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from genre_assets import migrations
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.cli import app
from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.packaging.code import model_files
from genre_assets.packaging.ensemble import EnsembleSpec
from genre_assets.packaging.environment import lock as locks
from genre_assets.packaging.environment.lock import READY, Environment, Lock, facts
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.packaging.release import Release
from genre_assets.stack import table_versions
from genre_assets.triton.protocol import PYTHON_MODELS


def versions(database: Database, home: Path) -> list[tuple[str, str, str]]:
    """(level, what was seen, what to do) of the findings about versions, from the command."""
    stated = {"GENRE_HOME": str(home), "GENRE_DATABASE_URL": database.url, "GENRE_TRITON_REPOSITORY": str(home / "r")}
    done = CliRunner().invoke(app, ["doctor", "--json"], env=stated)
    listed = json.loads(done.stdout)
    return [(one["level"], one["seen"], one["do"]) for one in listed if one["subject"] == "versions"]


def released(home: Path, environment: Lock, **spec: object) -> Release:
    """A release of this code on disk, as far as its manifest goes, with its environment."""
    features = FEATURE_SETS["default"]
    made = EnsembleSpec(
        GENRES, features.name, features.version, len(features.columns), 3, 30.0, 10.0, "start", 1.0, 3, None,
        environment.hash, 16, 1,
    )  # fmt: skip
    files = {
        f"models/{name}/1/{path}": hashlib.sha256(data).hexdigest()
        for name in PYTHON_MODELS
        for path, data in model_files(name).items()
    }
    release = Release("r1", "now", environment.hash, replace(made, **spec), {}, {}, files)  # type: ignore[arg-type]
    write(home, release)
    folder = home / "environments" / environment.hash
    folder.mkdir(parents=True, exist_ok=True)
    ready = Environment(environment, folder, folder, "3.11.2", {}, [])
    (folder / READY).write_text(json.dumps(facts(ready)))
    return release


def write(home: Path, release: Release) -> None:
    repository = ModelRepository(home / "r")
    folder = repository.folder(release.id)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "release.json").write_text(json.dumps(release.to_json()))
    repository.point(release.id)


def test_what_fits_is_not_spoken_of(database: Database, tmp_path: Path) -> None:
    released(tmp_path, locks.local_lock())
    assert versions(database, tmp_path) == []


@pytest.mark.parametrize(
    ("stands", "level", "said", "do"),
    [
        (
            "9999",
            "problem",
            f"9999, and this code knows them up to {migrations.HEAD}: later code was here",
            "by a backup",
        ),
        ("0001", "warning", f"0001, and this code is at {migrations.HEAD}", "genre-assets migrate"),
    ],
)
def test_tables_of_other_code_are_named(
    database: Database, tmp_path: Path, stands: str, level: str, said: str, do: str
) -> None:
    database.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{stands}'")
    ((found, seen, advice),) = versions(database, tmp_path)
    assert found == level
    assert seen == f"the tables of the database genre are at version {said}"
    assert do in advice


def test_a_release_of_other_code_or_features_is_named(database: Database, tmp_path: Path) -> None:
    release = released(tmp_path, locks.local_lock())
    changed = next(path for path in release.files if path.endswith("inference/items.py"))
    write(tmp_path, replace(release, files={**release.files, changed: "0" * 64}))
    ((level, seen, do),) = versions(database, tmp_path)
    code = "genre_assets/inference/items.py"
    assert (level, seen) == ("warning", f"release r1 was built by other code than is installed ({code})")
    assert do == "It serves on by the code that it brought. To release by this code: genre-assets run."
    released(tmp_path, locks.local_lock(), feature_set_version="0")
    ((level, seen, do),) = versions(database, tmp_path)
    here = FEATURE_SETS["default"].version
    assert (level, seen) == ("warning", f"release r1 extracts default of version 0, this code has {here}")


def test_an_environment_that_is_away_another_or_of_earlier_files_is_named(database: Database, tmp_path: Path) -> None:
    release = released(tmp_path, replace(locks.local_lock(), recipe=1))
    ((level, seen, do),) = versions(database, tmp_path)
    assert (level, do) == ("warning", "It serves on. The next build makes the environment anew: genre-assets run.")
    assert seen.startswith(f"release r1 runs in the environment {release.environment}, which the files of this code")
    ready = tmp_path / "environments" / release.environment / READY
    ready.write_text(ready.read_text().replace('"recipe": 1', '"recipe": 7'))
    ((level, seen, do),) = versions(database, tmp_path)
    assert (level, seen.split(", ")[0]) == ("problem", f"release r1 needs the environment {release.environment}")
    ready.unlink()
    ((level, seen, do),) = versions(database, tmp_path)
    assert (level, do) == ("problem", "genre-assets promote fetches it from the serving bucket.")
    assert seen.endswith("holds none that is finished")


def status(database: Database | None, home: Path, **more: str) -> dict[str, Any]:
    """What the command says, as JSON."""
    url = {"GENRE_DATABASE_URL": database.url} if database else {}
    stated = {"GENRE_HOME": str(home), "GENRE_TRITON_REPOSITORY": str(home / "r"), **url, **more}
    found: dict[str, Any] = json.loads(CliRunner().invoke(app, ["status", "--json"], env=stated).stdout)
    return found


def test_the_status_says_what_does_not_fit(database: Database, tmp_path: Path) -> None:
    release = released(tmp_path, locks.local_lock())
    assert status(database, tmp_path)["versions"] == []
    database.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    changed = next(path for path in release.files if path.endswith("inference/items.py"))
    write(tmp_path, replace(release, files={**release.files, changed: "0" * 64}))
    said = [(one["level"], one["seen"]) for one in status(database, tmp_path)["versions"]]
    assert said == [(level, seen) for level, seen, _ in versions(database, tmp_path)]
    assert [level for level, _ in said] == ["problem", "warning"]
    shown = CliRunner().invoke(
        app,
        ["status"],
        env={
            "GENRE_HOME": str(tmp_path),
            "GENRE_DATABASE_URL": database.url,
            "GENRE_TRITON_REPOSITORY": str(tmp_path / "r"),
        },
    )
    assert "problem: the tables of the database genre are at version 9999" in shown.stdout
    assert "warning: release r1 was built by other code than is installed" in shown.stdout


def test_what_the_status_does_not_learn_in_time_is_unknown(tmp_path: Path) -> None:
    """A database that takes the connection and says nothing: the rest is known, and nobody waits for it."""
    released(tmp_path, replace(locks.local_lock(), recipe=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/genre"
        unknown, environment = status(None, tmp_path, GENRE_DATABASE_URL=url)["versions"]
    assert unknown["level"] == "unknown"
    assert unknown["seen"].startswith("the versions of the databases")
    assert environment["level"] == "warning"
    assert "runs in the environment" in environment["seen"]


def test_the_versions_that_libraries_know_are_read_right() -> None:
    """As the libraries' own migrations have it."""
    from alembic.script import ScriptDirectory

    for name, (package, inside) in table_versions.FOLDERS.items():
        folder = Path(__import__(package).__file__ or "").parent / inside
        script = ScriptDirectory(str(folder.parent))
        assert table_versions.known(name).heads == set(script.get_heads())
        assert table_versions.known(name).revisions == {one.revision for one in script.walk_revisions()}
    assert table_versions.known("genre").heads == {migrations.HEAD}


def test_what_databases_are_asked_with_waits_for_no_signal_processing() -> None:
    """All questions of `status` share one processor and its deadline: what one imports, the others wait for."""
    script = (
        "import sys, genre_assets.stack.skew as s; print([m for m in ('scipy', 'av', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
