"""The wheel alone: installed into a new environment, in a folder where nothing is, it runs the main job and leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genre_assets.demo.synthetic import write_sample_set
from genre_assets.processes import orphan_processes
from genre_assets.shipped.wheels import SERVERS
from genre_assets_tests.live import PORT_OFFSET, logs
from genre_assets_tests.shipped.conftest import UV

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]


def test_the_wheel_alone_runs_the_demo_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    empty, home, bin_ = tmp_path / "empty", tmp_path / "empty" / ".genre", tmp_path / "venv" / "bin"
    empty.mkdir()
    write_sample_set(tmp_path / "audio", seed=7, each=4)
    outside = {n: v for n, v in os.environ.items() if not n.startswith(("GENRE_", "DAGSTER_", "VIRTUAL_ENV", "PYTHON"))}
    outside |= {"GENRE_PORT_OFFSET": str((PORT_OFFSET + 100) % 900), "PATH": f"{bin_}:/usr/bin:/bin"}

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=outside, cwd=empty)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs(home)}"
        return done.stdout

    run(UV, "venv", "--python", sys.executable, str(bin_.parent))
    run(UV, "pip", "install", "--python", str(bin_ / "python"), "--compile-bytecode", str(wheel))
    try:
        told = run("genre-assets", "demo", "--audio", str(tmp_path / "audio"))
        fetched = {path.name.rpartition("-")[0] for path in (home / "servers").glob("*-*")}
        history = run("genre-assets", "history")
    finally:
        run("genre-assets", "down")
    for name in SERVERS:
        assert f"fetching {name}" in told
    assert fetched == set(SERVERS)
    assert "fallback serves after" in told
    assert "champion serves after" in told
    assert "Traceback" not in told
    assert "fallback" in history
    assert orphan_processes(home) == []
    assert [path.name for path in empty.iterdir()] == [".genre"]
