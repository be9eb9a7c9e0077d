"""From the first version (ab72ec1) with all its data to this one, and the way back, as docs/howto/upgrade.md has it.

GENRE_UPGRADE_FROM names a checkout of that version with its environment (`make setup` in it).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from genre_assets_tests.live import COMMAND, PORT_OFFSET

FIRST = os.environ.get("GENRE_UPGRADE_FROM", "")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not FIRST, reason="GENRE_UPGRADE_FROM names no checkout of the first version"),
]


def command(program: str | Path, home: Path, *words: str) -> str:
    """What it prints; it must end well."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "DAGSTER_"))}
    environment = {**outside, "GENRE_HOME": str(home), "GENRE_PORT_OFFSET": str(PORT_OFFSET)}
    done = subprocess.run([program, *words], env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_version_comes_up_with_its_data_and_goes_back(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    before = Path(FIRST).resolve() / ".venv" / "bin" / "genre-assets"
    running = [(before, home)]
    try:
        command(before, home, "demo")
        clips = [str(path) for path in sorted((home / "synthetic_audio").glob("*/*.wav"))[::9]]
        told = command(before, home, "predict", *clips).splitlines()
        command(before, home, "down")
        subprocess.run(
            ["cp", "-a", home, copy], check=True
        )  # with its owners: PostgreSQL's files may be another user's

        running.append((Path(COMMAND), home))
        assert "was built by other code" in command(COMMAND, home, "up")
        answers = [json.loads(line) for line in command(COMMAND, home, "predict", *clips).splitlines()]
        # Its own release serves on, with the same answers.
        assert [f"{a['path']}: {a['genre']} ({max(a['probabilities'].values()):.0%}, {a['model']} version {a['version']})" for a in answers] == told  # fmt: skip
        moves = command(COMMAND, home, "history")
        assert "the first champion" in moves
        assert "fallback -> champion" in moves
        assert "detected" in command(COMMAND, home, "windows")
        command(COMMAND, home, "run")
        rebuilt = [json.loads(line) for line in command(COMMAND, home, "predict", *clips).splitlines()]
        assert all(answer["genre"] and not answer["error"] for answer in rebuilt)
        assert rebuilt[0]["version"] != answers[0]["version"], "a champion of this code serves"
        command(COMMAND, home, "down")

        shutil.rmtree(home)
        copy.rename(home)
        command(before, home, "up")
        assert command(before, home, "predict", *clips).splitlines() == told
    finally:
        for program, there in reversed(running):
            command(program, there, "down")
