"""PostgreSQL's real binaries and data below folders that others may not enter, as root and as a plain user.

The wheel's binaries are linked into a closed folder, as `.venv` lies in a checkout in root's own home.
"""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from genre_assets.stack.closed_folder import close_to_others
from genre_assets.stack.services.postgres import binaries
from genre_assets_tests import live
from genre_assets_tests.conftest import free_port
from genre_assets_tests.other_user import readable_by_others
from genre_assets_tests.waiting import until

SERVER = """
import sys, time
from pathlib import Path
from genre_assets.settings import load_settings
from genre_assets.stack.services import postgres
from genre_assets.stack.supervision.keeper import Keeper
settings = load_settings(Path(sys.argv[1]), postgres_port=int(sys.argv[2]))
service = postgres.Postgres(settings, password="secret")
assert str(postgres.binaries()).startswith(sys.argv[3]), postgres.binaries()
keeper = Keeper(service, ready=lambda _: True, changed=lambda: None)
keeper.start()
while keeper.standing.state not in ("healthy", "failed"):
    time.sleep(0.05)
from genre_assets.database import Database
made = Database(service.url("genre"))
made.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
made.execute("INSERT INTO kept VALUES (1)")
print(keeper.standing.state, keeper.standing.pid, made.rows("SELECT count(*) AS n FROM kept")[0]["n"], flush=True)
sys.stdin.read()
keeper.end()
keeper.join(30)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of other users")


@pytest.fixture
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of mode 0700 with the binaries in it, reachable by others up to its door."""
    folder = Path("/var/tmp") / f"genre-closed-{os.getpid()}-{free_port()}"
    folder.mkdir(mode=0o700)
    package = binaries().parents[1]
    for source in [package, *package.parent.glob(f"{package.name}.libs")]:
        shutil.copytree(source, folder / "site" / source.name, copy_function=_link, symlinks=True)
    yield folder
    shutil.rmtree(folder)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def start(
    closed: Path, python: str = sys.executable, prefix: tuple[str, ...] = (), **variables: str
) -> "subprocess.Popen[str]":
    checkout = Path(__file__).resolve().parents[2]
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": f"{closed / 'site'}:{checkout}:{packages}", **variables}
    command = [*prefix, python, "-c", SERVER, str(closed / "home"), str(free_port()), str(closed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/")


def answer(server: "subprocess.Popen[str]") -> tuple[str, psutil.Process, int]:
    """(state, the server's process, rows); the server is left running."""
    assert server.stdout is not None
    words = server.stdout.readline().split()
    assert len(words) == 3, words
    return words[0], psutil.Process(int(words[1])), int(words[2])


def stop(server: "subprocess.Popen[str]", process: psutil.Process) -> None:
    server.communicate("", timeout=60)
    assert not process.is_running()


def capabilities(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb"))}


@as_root
def test_as_root_in_a_closed_folder_of_root(closed: Path) -> None:
    server = start(closed)
    state, process, rows = answer(server)
    assert (state, rows) == ("healthy", 1)
    assert capabilities(process.pid) == {"0" * 16}
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    data = closed / "home" / "postgres"
    assert (data.stat().st_uid, stat.S_IMODE(data.stat().st_mode)) == (0, 0o700)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for command in (["cat", str(data / "pg_hba.conf")], ["kill", "-0", str(process.pid)]):
        assert subprocess.run([*as_nobody, *command], capture_output=True).returncode != 0
    stop(server, process)


@as_root
def test_as_root_in_a_closed_folder_of_somebody_else(closed: Path) -> None:
    for path in (closed, *closed.rglob("*")):
        os.chown(path, 1234, 1234, follow_symlinks=False) if path.is_dir() else None
    nobody = pwd.getpwnam("nobody")
    os.chown(closed, nobody.pw_uid, nobody.pw_gid)
    server = start(closed)
    state, process, rows = answer(server)
    assert (state, rows) == ("healthy", 1)
    assert capabilities(process.pid) == {"0" * 16}
    stop(server, process)


@as_root
def test_a_server_that_runs_as_nobody_passes_through_a_state_folder_that_is_closed(closed: Path) -> None:
    """As in a container without user namespaces."""
    closed.chmod(0o711)
    home, tools = closed / "home", closed / "tools"
    home.mkdir(mode=0o755)
    close_to_others(home)
    tools.mkdir()
    for tool in ("setpriv", "sh"):
        (tools / tool).symlink_to(Path(str(shutil.which(tool))).resolve())
    server = start(closed, PATH=str(tools))
    state, process, rows = answer(server)
    assert (state, rows, process.username()) == ("healthy", 1, "nobody")
    assert stat.S_IMODE(home.stat().st_mode) == 0o711
    stop(server, process)


def test_up_closes_the_state_folder_of_an_earlier_version(tmp_path: Path) -> None:
    """It stops at a taken port: that is after it has looked at the folder, and without a whole stack."""
    home = tmp_path / "home"
    for name in ("s3/genre-raw/rock/a.wav", "triton/repository/model.onnx", "logs/triton.log", "dagster/dagster.yaml"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x")
    (home / "s3" / "link").symlink_to(elsewhere)
    os.link(elsewhere, home / "s3" / "second-name")
    assert len(readable_by_others(home)) > 10
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outside = {**live.environment(home), "GENRE_DAGSTER_PORT": str(taken.getsockname()[1])}
        done = subprocess.run([live.COMMAND, "up"], capture_output=True, text=True, env=outside, timeout=60)
    assert "cannot be used" in done.stderr
    assert readable_by_others(home) == []
    assert stat.S_IMODE((home / "s3" / "genre-raw" / "rock" / "a.wav").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o711
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644  # not the stack's


@as_root
def test_an_installation_whose_server_ran_as_nobody_comes_up_with_its_rows(closed: Path) -> None:
    server = start(closed)
    stop(server, answer(server)[1])
    nobody = pwd.getpwnam("nobody")
    data = closed / "home" / "postgres"
    for path in (data, *data.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    server = start(closed)
    state, process, rows = answer(server)
    assert (state, rows) == ("healthy", 2)
    stop(server, process)


@as_root
def test_the_server_stops_with_a_supervisor_that_is_killed(closed: Path) -> None:
    server = start(closed)
    process = answer(server)[1]
    server.send_signal(signal.SIGKILL)
    server.communicate()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "PostgreSQL stops too", 20)


def test_as_a_plain_user_in_a_folder_of_its_own(closed: Path) -> None:
    prefix: tuple[str, ...] = ()
    python = sys.executable
    if os.geteuid() == 0:
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        for path in (closed, *closed.rglob("*")):
            if path.is_dir():
                os.chown(path, 65534, 65534)
        python = f"/usr/bin/python3.{sys.version_info.minor}"
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        reached = subprocess.run(
            [*prefix, python, "-c", "import sys; sys.path.append(sys.argv[1]); import psutil", packages]
        )
        if reached.returncode:
            pytest.skip(f"a plain user cannot use {python} with {packages}")
    server = start(closed, python, prefix)
    state, process, rows = answer(server)
    assert (state, rows) == ("healthy", 1)
    stop(server, process)
