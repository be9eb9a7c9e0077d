"""The README is true: its commands and its snippet are run as they stand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from genre_assets_tests.live import ROOT, Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """Every command of the console blocks, without its comment."""
    lines = [line.split("#")[0].strip() for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {line.split()[1] for line in commands() if line.startswith("make ")} | set(
        re.findall(r"`make ([a-z-]+)", README)
    )
    assert used
    assert used <= targets


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []
    for page, _, place in (link.partition("#") for link in links):
        headings = re.findall(r"(?m)^#+ (.*)$", (ROOT / page).read_text()) if place else []
        assert not place or place in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_steps_of_the_readme_work_as_written(stack: Stack, tmp_path: Path) -> None:
    music = tmp_path / "music"
    shutil.copytree(stack.audio, music)
    shutil.copy(min((music / "jazz").iterdir()), music / "jazz" / "song.mp3")
    steps = [line for line in commands() if line.startswith("genre-assets ")]
    assert [shlex.split(step)[1] for step in steps] == ["up", "ingest", "run", "predict"]
    for step in steps:
        stack.command(*shlex.split(step.replace("~/music", str(music)))[1:])


def test_the_client_snippet_of_the_readme_answers(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    shutil.copy(min((stack.audio / "pop").iterdir()), tmp_path / "song.mp3")
    other = min((stack.audio / "jazz").iterdir()).name
    snippet = snippet.replace("jazz/other.wav", f"jazz/{other}").replace("127.0.0.1:8401", stack.settings.triton_grpc)
    snippet = snippet.replace('open("song.mp3", "rb").read()', '__import__("pathlib").Path("song.mp3").read_bytes()')
    exec(compile(snippet, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "LABEL" in printed
    assert re.search(r"ERROR \[\[b''\]\s+\[b''\]\]", printed)
