"""Wheels and interpreters as conda packages, and a channel that a real solver and installer accept."""

import asyncio
import sys
import zipfile
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment import channel, interpreter
from genre_assets.packaging.environment.channel import PLACEHOLDER, python_package, wheel_package


def toy_wheel(folder: Path, name: str = "toy", *, requires: tuple[str, ...] = ()) -> Path:
    """A wheel with a module, a script and data."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "value = 42\n")
        archive.writestr(f"{name}-1.2.data/scripts/{name}-tool", "#!python\nprint('tool')\n")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\nLicense: MIT\n"
        metadata += "".join(f"Requires-Dist: {r}\n" for r in requires)
        archive.writestr(f"{name}-1.2.dist-info/METADATA", metadata)
    return path


def test_a_wheel_becomes_a_package_with_its_dependencies_under_their_conda_names(tmp_path: Path) -> None:
    requires = ("numpy>=1.21.6", "typing-extensions>=4", "old; python_version < '3.9'", "extra; extra == 'more'")
    package = wheel_package(toy_wheel(tmp_path, requires=requires), "3.11.7")
    assert (package.name, package.version) == ("toy", "1.2")
    assert package.depends == ["python >=3.11,<3.12.0a0", "numpy >=1.21.6", "typing_extensions >=4"]
    assert package.about["extra"]["made_from"] == "toy-1.2-py3-none-any.whl"


def test_a_script_starts_with_the_environments_own_python(tmp_path: Path) -> None:
    package = wheel_package(toy_wheel(tmp_path), "3.11.7")
    script = next(m for m in package.members if m.path == "bin/toy-tool")
    assert script.data.startswith(f"#!{PLACEHOLDER}/bin/python".encode())
    assert (script.placeholder, script.executable) == (PLACEHOLDER, True)


def test_a_file_that_is_no_wheel_is_named(tmp_path: Path) -> None:
    path = tmp_path / "toy-1.2-py3-none-any.whl"
    path.write_bytes(b"not a zip")
    with pytest.raises(PermanentFailure, match=r"toy-1\.2-py3-none-any\.whl is not a wheel"):
        wheel_package(path, "3.11.7")


def test_the_channel_installs_into_a_python_that_runs_anywhere(tmp_path: Path) -> None:
    found = interpreter.find()
    if found is None:
        pytest.skip("no Python with a shared library on this machine")
    channel.build_channel(tmp_path / "channel", found, [toy_wheel(tmp_path / "wheels")])
    prefix = tmp_path / "prefix"

    async def install() -> None:
        import rattler

        records = await rattler.solve(sources=[(tmp_path / "channel").as_uri()], specs=["toy"])
        await rattler.install(records, target_prefix=prefix, cache_dir=tmp_path / "cache", show_progress=False)

    asyncio.run(install())
    moved = prefix.rename(tmp_path / "elsewhere")
    import subprocess

    script = "import sys, toy, ssl, sqlite3, ctypes; print(toy.value, sys.prefix)"
    answer = subprocess.run(
        [moved / "bin" / "python3", "-c", script], capture_output=True, text=True, check=True, env={}
    )
    assert answer.stdout.split() == ["42", str(moved)]
    links = subprocess.run([moved / "bin" / "python3", "-c", "import sysconfig; print(sysconfig.get_config_vars())"],
                           capture_output=True, text=True, check=True, env={})  # fmt: skip
    assert sys.base_prefix == "/usr" or sys.base_prefix not in links.stdout


def test_a_python_package_leaves_out_what_a_server_does_not_need() -> None:
    found = interpreter.find()
    if found is None:
        pytest.skip("no Python with a shared library on this machine")
    paths = {m.path for m in python_package(found).members}
    minor = found.minor
    assert {f"bin/python{minor}", "bin/python3", f"lib/libpython{minor}.so.1.0", f"lib/python{minor}/os.py"} <= paths
    assert not [p for p in paths if "/test/" in p or "/tkinter/" in p or "__pycache__" in p]
