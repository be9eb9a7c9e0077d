"""The execution environment: built once for a lock, found again, repaired when unfinished, refused when wrong."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging import properties
from genre_assets.packaging.environment import build, conda
from genre_assets.packaging.environment import lock as locks
from genre_assets.packaging.environment.lock import Environment, Lock
from genre_assets.packaging.environment.wheels import requirements_for
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(tmp_path: Path, s3_settings: Settings) -> Settings:
    return s3_settings.model_copy(update={"home": tmp_path, "environment_source": "local"})


@pytest.fixture
def built(execution_environment: Environment, settings: Settings, store: ObjectStore) -> Environment:
    """The session's environment, as another machine left it in the bucket."""
    store.upload_file(settings.serving_bucket, execution_environment.key, execution_environment.archive)
    return execution_environment


def forbid_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it was built again")

    monkeypatch.setattr(conda, "build", fail)


def test_what_the_bucket_has_is_unpacked_and_runs(
    built: Environment, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_building(monkeypatch)
    here = conda.ensure(settings, store)
    assert here.lock == built.lock
    assert here.folder.is_relative_to(settings.home)
    script = "import sys, numpy; print(sys.prefix, numpy.__version__)"
    answer = subprocess.run(
        [here.folder / "bin/python3", "-c", script], capture_output=True, text=True, check=True, env={}
    )
    prefix, numpy = answer.stdout.split()
    assert prefix == str(here.folder)
    assert numpy.startswith("1.")
    assert (here.folder / "bin" / "activate").exists()


def test_a_damaged_archive_is_named_and_leaves_no_folder(tmp_path: Path) -> None:
    archive = tmp_path / "half.tar.gz"
    archive.write_bytes(b"\x1f\x8b half an archive")
    with pytest.raises(PermanentFailure, match=r"half\.tar\.gz cannot be unpacked"):
        build.unpack(archive, tmp_path / "environment")
    assert not (tmp_path / "environment").exists()


def test_a_second_time_nothing_is_done(
    built: Environment, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_building(monkeypatch)
    (settings.home / "environments").mkdir()
    (settings.home / "environments" / built.lock.hash).symlink_to(built.folder)
    monkeypatch.setattr(conda, "unpack", lambda *a: pytest.fail("it was unpacked again"))
    monkeypatch.setattr(store, "upload_file", lambda *a: pytest.fail("it was uploaded again"))
    assert conda.ensure(settings, store).lock == built.lock


def test_an_unfinished_folder_is_done_again(
    built: Environment, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_building(monkeypatch)
    half = settings.home / "environments" / built.lock.hash
    (half / "bin").mkdir(parents=True)
    (half / "rubbish").touch()
    here = conda.ensure(settings, store)
    assert not (here.folder / "rubbish").exists()
    assert build.warm(here.folder)["python"] == built.python


def test_a_failed_build_leaves_nothing_behind(
    settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise PermanentFailure("no wheels")

    monkeypatch.setattr(build, "local_channel", fail)
    with pytest.raises(PermanentFailure, match="no wheels"):
        conda.ensure(settings, store)
    assert [p.name for p in (settings.home / "environments").iterdir()] == [".lock"]


def test_the_lock_follows_the_packages_and_the_python_but_not_our_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(locks.DEFINITION, tmp_path / "conda")
    monkeypatch.setattr(locks, "DEFINITION", tmp_path / "conda")
    before = locks.local_lock()
    assert locks.local_lock().hash == before.hash
    (tmp_path / "conda" / "wheels.lock").write_text("other==1")
    assert locks.local_lock().hash != before.hash
    assert replace(before, python="3.12.9").hash != before.hash


@pytest.mark.parametrize(("minor", "version"), [("3.11", "18.1"), ("3.12", "19.0")])
def test_the_lock_is_read_for_the_environments_python_and_not_for_the_one_that_runs(minor: str, version: str) -> None:
    lock = (
        "# made by uv\nav==18.1 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "av==19.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\nnumpy==1.26 \\\n    --hash=sha256:dd\n"
    )
    lines = requirements_for(minor, lock).splitlines()
    assert [line.split()[0] for line in lines] == [f"av=={version}", "numpy==1.26"]
    assert all("--hash=sha256:" in line and ";" not in line for line in lines)


def test_auto_keeps_what_is_here_then_what_is_in_the_bucket_and_else_asks_whether_conda_forge_answers(
    settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = settings.model_copy(update={"environment_source": "auto"})
    root = settings.home / "environments"
    monkeypatch.setattr(conda, "_answers", lambda url: True)
    assert conda.choose_lock(auto, store).source == "conda-forge"
    monkeypatch.setattr(conda, "_answers", lambda url: False)
    assert conda.choose_lock(auto, store).source == "local"
    monkeypatch.setattr(conda, "_answers", lambda url: pytest.fail("there was no need to ask"))
    store.put_bytes(settings.serving_bucket, locks.conda_forge_lock().key, b"archive", "application/gzip")
    assert conda.choose_lock(auto, store).source == "conda-forge"
    (root / locks.local_lock().hash).mkdir(parents=True)
    (root / locks.local_lock().hash / locks.READY).touch()
    assert conda.choose_lock(auto, store).source == "local"


def test_who_want_it_at_once_build_it_once_and_upload_it_once(
    execution_environment: Environment, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[Path] = []
    uploads: list[str] = []
    upload = store.upload_file

    def counted(bucket: str, key: str, path: Path) -> None:
        uploads.append(key)
        upload(bucket, key, path)

    def slowly(lock: Lock, folder: Path, archive: Path, say: Any, **told: str) -> None:
        builds.append(folder)
        time.sleep(0.5)
        folder.symlink_to(execution_environment.folder)
        archive.symlink_to(execution_environment.archive)

    monkeypatch.setattr(conda, "build", slowly)
    monkeypatch.setattr(store, "upload_file", counted)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: conda.ensure(settings, store).lock.hash, range(3)))
    assert set(found) == {execution_environment.lock.hash}
    assert (len(builds), len(uploads)) == (1, 1)


def test_no_network_is_not_taken_for_conda_forge() -> None:
    assert not conda._answers("http://127.0.0.1:1/conda-forge")


def test_the_checks_pass_on_the_real_environment(execution_environment: Environment) -> None:
    for check in (properties.stub_starts, properties.numpy_fits, properties.imports_work):
        found = check(execution_environment)
        assert found.passed, found.summary


def test_the_checks_fail_on_what_they_guard_against(execution_environment: Environment, tmp_path: Path) -> None:
    assert not properties.numpy_fits(replace(execution_environment, versions={"numpy": "2.1.0"})).passed
    assert not properties.numpy_fits(replace(execution_environment, versions={})).passed
    unknown = properties.stub_starts(replace(execution_environment, python="3.7.1"))
    assert not unknown.passed
    assert "no stub for Python 3.7" in unknown.summary
    bare = replace(
        execution_environment, folder=tmp_path, python="3.12.1" if execution_environment.minor == "3.11" else "3.11.1"
    )
    missing = properties.stub_starts(bare)
    if missing.passed:
        pytest.skip("the machine's own libpython serves the stub")
    assert "libpython" in missing.summary
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(shutil.which("false") or "/bin/false")
    assert not properties.imports_work(bare).passed


def test_a_folder_without_its_facts_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match="materialise conda_pack"):
        locks.read(tmp_path)


def test_the_facts_say_where_everything_comes_from(execution_environment: Environment) -> None:
    facts = json.loads((execution_environment.folder / locks.READY).read_text())
    assert facts["lock"]["source"] == "local"
    assert any(p.startswith("numpy-1.26") for p in facts["packages"])
    assert Lock(**facts["lock"]).hash == execution_environment.folder.name
