"""A stack is restored into another, empty one by the commands, and gives the same answers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets.settings import load_settings
from genre_assets_tests.live import COMMAND, PORT_OFFSET, Stack, environment

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1800)]
OTHER = PORT_OFFSET + 400


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """The state folder of a stack that has never been up; whatever is up there afterwards is stopped."""
    yield tmp_path / "other"
    command(tmp_path / "other", "down")


def command(home: Path, *arguments: str, code: int = 0) -> str:
    outside = {**environment(home), "GENRE_PORT_OFFSET": str(OTHER)}
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=outside, timeout=900)
    assert done.returncode == code or arguments == ("down",), done.stdout + done.stderr
    return done.stdout if "--json" in arguments else " ".join((done.stdout + done.stderr).split())


def answers(printed: str) -> list[tuple[object, ...]]:
    """What is said of each clip, and by which model."""
    found = [json.loads(line) for line in printed.splitlines()]
    return [
        (one["path"], one["genre"], one["probabilities"], one["model"], one["version"], one["error"]) for one in found
    ]


def test_the_same_clips_get_the_same_answers_from_a_restored_stack(stack: Stack, other: Path, tmp_path: Path) -> None:
    clips = [str(path) for path in sorted(stack.audio.rglob("*.wav"))[:4]]
    before = answers(stack.command("predict", *clips, "--json").stdout)
    moves = stack.json("history", "--json")
    place = str(tmp_path / "kept")
    said = stack.command("backup", place)
    assert f"the backup in {place} is whole: 4 databases with " in " ".join(said.stderr.split())

    refused = command(other, "restore", place, code=1)
    assert "are signed by another stack's key" in refused
    assert "or restore with --sign, which signs them by this stack's key. Nothing was changed" in refused
    restored = command(other, "restore", place, "--sign")
    assert " releases signed anew" in restored
    assert " serves when the stack is started" in restored

    command(other, "up")
    assert answers(command(other, "predict", *clips, "--json")) == before
    now = json.loads(command(other, "history", "--json"))
    assert [move for move in now if move["actor"] != "restore"] == moves
    assert "the stack in" in command(other, "restore", place, "--replace", code=1), "it runs"
    command(other, "run", "build")
    assert load_settings(other).release_key != stack.settings.release_key
    assert not [path for path in Path(place).rglob("*") if path.stat().st_mode & 0o077]
    assert (other / "stack.env").stat().st_mode & 0o077 == 0
