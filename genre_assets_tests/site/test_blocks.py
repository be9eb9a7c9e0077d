"""Every code block of the pages says what it is; what people type is read by the parsers that would read it."""

import csv
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml

from genre_assets.cli import app
from genre_assets_tests.live import ROOT
from genre_assets_tests.site.blocks import WHAT_IS_DONE, Block, blocks
from genre_assets_tests.test_house import documented

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of the click that Typer brings along, or of click itself
TOOLS = {"source", "git", "tar", "cp", "mkdir", "pytest", "pip", "python3", "helm", "kubectl", "apt-get", "systemctl"}
"""What else people type; a test cannot know whether it is right."""


def test_every_block_says_what_it_is() -> None:
    unknown = [str(block) for block in blocks() if block.language not in WHAT_IS_DONE]
    assert unknown == [], f"after the fence stands one of: {', '.join(WHAT_IS_DONE)}"
    assert len(blocks("console")) > 10


def typed(block: Block) -> Iterator[list[str]]:
    """The commands of a block, with their comments left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_what_people_type_is_understood(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # with the files that the commands name, as those who type them have
    for words in typed(block):
        for file in (word for word in words if re.fullmatch(r"\w+\.(parquet|csv|json)", word)):
            (tmp_path / file).touch()
        understand(words)


def understand(words: list[str]) -> None:
    """Raises for a variable, command, option, target, service or module that there is not."""
    while re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
        assert words[0].partition("=")[0] in {*documented(), "GENRE_HOME"}, words
        words = words[1:]
    program = re.sub(r"^\.?venv/bin/", "", words[0])
    if program == "genre-assets":
        parse(words[1:])
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in words[1:] if "=" not in word and word not in targets] == []
    elif words[:2] == ["docker", "compose"]:
        compose(words[2:])
    elif [program, *words[1:2]] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), words
    else:
        assert program in TOOLS, words


def parse(words: list[str]) -> None:
    """As `genre-assets` itself reads its arguments, without doing anything."""
    command: Any = typer.main.get_command(app)
    with command.make_context("genre-assets", list(words)) as context:
        while hasattr(command, "commands") and (rest := [*context._protected_args, *context.args]):
            name, command, arguments = command.resolve_command(context, rest)
            assert command is not None
            context = command.make_context(name, arguments, parent=context)


def compose(words: list[str]) -> None:
    """A service that is named is one of the file."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    named = [word for word in words[1:] if not word.startswith("-")]
    assert words[0] in {"up", "down", "ps", "logs", "exec", "run"}, words
    if words[0] in {"exec", "run"}:
        assert named[0] in services, words
        if "genre-assets" in words:
            parse(words[words.index("genre-assets") + 1 :])


@pytest.mark.parametrize(
    "wrong",
    ["genre-assets predit song.mp3", "genre-assets predict --jsn x", "make demmo", "GENRE_WINDOW_SICE=4 genre-assets up",
     "docker compose exec dagter genre-assets run", "genre-assets labels ad polka", "frobnicate"],
)  # fmt: skip
def test_a_slip_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, UsageError)):
        understand(shlex.split(wrong))


@pytest.mark.parametrize("block", blocks("yaml", "json", "csv", "ini"), ids=str)
def test_files_that_are_shown_can_be_read(block: Block) -> None:
    if block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif block.language == "json":
        assert json.loads(block.text)
    elif block.language == "csv":
        rows = list(csv.DictReader(io.StringIO(block.text), strict=True))
        assert rows
        assert all(None not in row and None not in row.values() for row in rows)
    else:
        assert {line.partition("=")[0] for line in block.text.splitlines()} <= {*documented(), "COMPOSE_PROFILES"}
