"""The set-up script on Pythons that lack something."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uv_is_unpacked_from_its_locked_wheel_where_there_is_no_pip(bootstrap: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "uv"
    bootstrap.unpack_uv(target)
    done = subprocess.run([target, "--version"], capture_output=True, text=True, check=True)
    assert bootstrap.locked_version() in done.stdout


def test_a_wheel_with_another_hash_is_not_installed(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(
        re.sub(r'(uv-[^"]+\.whl", hash = "sha256:)[0-9a-f]+', r"\g<1>" + "0" * 64, (ROOT / "uv.lock").read_text())
    )
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="does not have the hash"):
        bootstrap.unpack_uv(tmp_path / "uv")
    assert not (tmp_path / "uv").exists()


def test_a_python_that_does_not_fit_is_named_with_what_to_install(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"Python 3\.11 to 3\.13 is needed"):
        bootstrap.find_python()


def test_the_lock_file_pins_every_package_by_hash() -> None:
    packages = (ROOT / "uv.lock").read_text().split("[[package]]")[1:]
    from_index = [package for package in packages if "\nsource = { registry" in package]
    assert len(from_index) > 200
    assert all("hash = " in package for package in from_index)
