"""Ctrl-C in a command that waits: one line that says what goes on without it, and exit code 130; no traceback."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from genre_assets.cli.guard import INTERRUPTED
from genre_assets.settings import Settings
from genre_assets.stack.services import graphql
from genre_assets.stack.supervision.run_files import supervisor_pid
from genre_assets.store import ObjectStore
from genre_assets_tests.live import COMMAND, Stack, environment
from genre_assets_tests.waiting import until


def interrupted(process: "subprocess.Popen[str]", *, after: Callable[[], object]) -> str:
    """The last and only new line that a command says when it is interrupted `after` something."""
    try:
        after()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED, said
    assert "Traceback" not in said
    (line,) = (line for line in said.splitlines() if line.startswith("interrupted"))
    assert said.splitlines()[-1] == line
    return line


def started(variables: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables, bufsize=1
    )


def line_of(stream: IO[str] | None, text: str) -> str:
    """The first line that has the text."""
    assert stream is not None
    return next(line for line in stream if text in line)


def test_an_ingest_says_what_is_kept(s3_settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    for number in range(400):
        file = tmp_path / "music" / f"l{number % 2}" / f"{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number % 256]) * 300_000)
    variables = {
        **environment(tmp_path / "home"),
        "GENRE_S3_ENDPOINT_URL": s3_settings.s3_endpoint_url or "",
        "GENRE_S3_SECRET_KEY": s3_settings.s3_secret_key.get_secret_value(),
    }
    process = started(variables, "ingest", "--no-tags", str(tmp_path / "music"))
    said = interrupted(process, after=lambda: until(lambda: any(store.list("genre-raw")), "an object", 120))
    assert said == "interrupted: what was uploaded stays in s3://genre-raw; the same command sends the rest"
    assert 0 < len(list(store.list("genre-raw"))) < 400


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_run_goes_on_and_its_page_is_named(stack: Stack) -> None:
    process = started(environment(stack.settings.home), "run", "drift")
    link = ""

    def launched() -> None:
        nonlocal link
        link = line_of(process.stderr, "/runs/").split()[-1]

    said = interrupted(process, after=launched)
    assert said == f"interrupted: the run goes on: {link} (stop it there with Terminate)"
    ended = graphql.wait(stack.settings.dagster_url, link.rpartition("/")[2], timeout=120)
    assert ended.status == "SUCCESS"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_services_go_on_starting_and_the_story_says_how_to_end_it(tmp_path: Path) -> None:
    variables = {**environment(tmp_path), "GENRE_PORT_OFFSET": "890"}
    for words in (("up",), ("demo",)):
        process = started(variables, *words)
        said = interrupted(
            process, after=lambda: until(lambda: supervisor_pid(tmp_path) is not None, "a supervisor", 120)
        )
        assert "genre-assets down" in said, words
        assert supervisor_pid(tmp_path), words
        done = subprocess.run([COMMAND, "down"], env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert supervisor_pid(tmp_path) is None
