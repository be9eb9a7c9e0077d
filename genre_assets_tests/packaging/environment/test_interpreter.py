"""Finding a Python that can be embedded, and saying what to install when there is none."""

import shutil
import stat
import sys
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment import debian_python, interpreter


def fake_python(folder: Path, *, version: str = "3.11.9", shared: bool = True) -> Path:
    """A folder that looks like an installation, whose executable answers the one question that is asked of it."""
    minor = version.rpartition(".")[0]
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / f"python{minor}").mkdir(parents=True)
    if shared:
        (folder / "lib" / f"libpython{minor}.so.1.0").touch()
    executable = folder / "bin" / f"python{minor}"
    executable.write_text(
        f'#!/bin/sh\necho \'{{"version": "{version}", "prefix": "{folder}", "stdlib": "{folder}/lib/python{minor}",'
        f' "folders": ["{folder}/lib", ""], "arch": "no-such-arch"}}\'\n'
    )
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return executable


def test_a_python_with_a_shared_library_is_described(tmp_path: Path) -> None:
    found = interpreter.describe(fake_python(tmp_path), "here")
    assert found is not None
    assert (found.version, found.minor, found.origin) == ("3.11.9", "3.11", "here")
    assert found.library == tmp_path / "lib" / "libpython3.11.so.1.0"


@pytest.mark.parametrize(("version", "shared"), [("3.11.9", False), ("3.13.1", True), ("3.10.1", True)])
def test_a_static_python_or_one_without_numpy_1_is_passed_over(tmp_path: Path, version: str, shared: bool) -> None:
    assert interpreter.describe(fake_python(tmp_path, version=version, shared=shared), "here") is None


def test_an_executable_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    assert interpreter.describe(tmp_path / "nothing", "here") is None


def test_another_python_on_the_path_serves_when_the_running_one_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = fake_python(tmp_path / "static", version="3.13.0", shared=False)
    good = fake_python(tmp_path / "good", version="3.12.4")
    monkeypatch.setattr(sys, "executable", str(static))
    monkeypatch.setattr(interpreter, "VERSIONS", ("3.12",))
    monkeypatch.setenv("PATH", str(good.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = interpreter.find()
    assert found is not None
    assert (found.version, found.origin) == ("3.12.4", "found on this machine")


def test_without_apt_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PermanentFailure, match=r"apt-get install libpython3\.11"):
        debian_python.fetch(tmp_path, lambda text: None)


def test_a_failing_download_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho no network >&2\nexit 100\n")
    (tmp_path / "dpkg-deb").write_text("#!/bin/sh\n")
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PermanentFailure, match=r"no network.*Install Python 3\.11"):
        debian_python.fetch(tmp_path / "work", lambda text: None)
