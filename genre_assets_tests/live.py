"""One real stack for the integration tests: the main job, told once by the real command, and left up."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from genre_assets.demo.story import SETTINGS as STORY
from genre_assets.demo.synthetic import write_sample_set
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.supervision.run_files import state_file
from genre_assets_tests.receiver import Receiver, receiving
from genre_assets_tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
# Away from the defaults, so that a developer's own stack can stay up; another one lets two checkouts test side by side.
PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "210"))
ALERT_PORT = 9250 + PORT_OFFSET
COMMAND = str(Path(sys.executable).with_name("genre-assets"))

FOREIGN = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "elsewhere"}


@dataclass(frozen=True)
class Stack:
    """The running stack and how its story went."""

    settings: Settings
    audio: Path
    told: str
    alerts: Receiver

    def command(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `genre-assets` against this stack."""
        done = subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, env=environment(self.settings.home)
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def kill(self, service: str) -> None:
        """SIGKILL to the process of a service."""
        pid = json.loads(state_file(self.settings.home).read_text())["services"][service]["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "killed", 10)

    def json(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.command(*arguments).stdout)


def environment(home: Path) -> dict[str, str]:
    """An environment for a stack in `home`, with the small windows and studies of the demo's story, for good.

    As in the shells of people who use AWS, credentials stand in it that are none of the stack's.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "DAGSTER_"))}
    return {**outside, **FOREIGN, **STORY, "GENRE_HOME": str(home), "GENRE_PORT_OFFSET": str(PORT_OFFSET)}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The main job on a small synthetic set, by the README's own commands, through to the champion's return.

    TEST_STACK=<folder> keeps the stack there and up, for the next run of the tests to go on with.
    """
    kept = os.environ.get("TEST_STACK")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("stack")
    home, audio = folder / "home", folder / "audio"
    write_sample_set(audio, seed=7, each=4)
    (audio / "notes").mkdir(exist_ok=True)
    (audio / "notes" / "what this is.txt").write_text("no audio\n")
    with receiving(ALERT_PORT) as alerts:
        try:
            done = make("demo", home, f"AUDIO={audio}", GENRE_ALERT_WEBHOOK=alerts.url)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs(home)}"
            yield Stack(load_settings(home), audio, done.stdout, alerts)
        finally:
            if not kept:
                down = make("down", home)
                assert down.returncode == 0, down.stdout + down.stderr


def make(target: str, home: Path, *variables: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a target of the Makefile for the stack in `home`, with more settings in its environment."""
    command, outside = ["make", target, *variables], {**environment(home), **settings}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=outside, timeout=1100)


def logs(home: Path) -> str:
    """The ends of the services' logs, for a failure's message."""
    return "\n".join(
        f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        for log in sorted((home / "logs").glob("*.log"))
    )
