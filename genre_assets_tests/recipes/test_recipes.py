"""The recipes of CONTRIBUTING.md: each is applied to a copy of the project, and its commands are run there."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from genre_assets_tests.live import ROOT
from genre_assets_tests.test_names_in_docs import files

AT_MOST = 3  # files that a person changes


@dataclass(frozen=True)
class Recipe:
    """A section of the page: its patch, and the commands that show that it works."""

    title: str
    patch: str
    commands: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """What the patch changes or makes."""
        return re.findall(r"^\+\+\+ b/(.+)$", self.patch, re.MULTILINE)


def recipes() -> list[Recipe]:
    """The sections, with their patches."""
    sections = (ROOT / "CONTRIBUTING.md").read_text().split("\n## ")[1:]
    return [
        Recipe(section.partition("\n")[0], "\n".join(_blocks(section, "diff")), _commands(section))
        for section in sections
    ]


def _blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def _commands(section: str) -> tuple[str, ...]:
    return tuple(line for block in _blocks(section, "console") for line in block.splitlines())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files as they are now, elsewhere."""
    for path in files():
        target = tmp_path / "project" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return tmp_path / "project"


def run(copy: Path, *words: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"


def test_the_five_commonest_changes_have_a_recipe() -> None:
    assert [recipe.title for recipe in recipes()] == [
        "A feature",
        "A model family",
        "An alert channel",
        "Another label set",
        "An asset",
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.title)
def test_a_recipe_works_as_written(recipe: Recipe, copy: Path, tmp_path: Path) -> None:
    assert len(recipe.files) <= AT_MOST
    assert recipe.files or recipe.title == "Another label set", "only labels need no code"
    if recipe.files:
        patch = tmp_path / "recipe.patch"
        patch.write_text(recipe.patch)
        run(copy, "git", "apply", str(patch))
        run(copy, "ruff", "check", *recipe.files)
        run(copy, "ruff", "format", "--check", *recipe.files)
    assert recipe.commands
    for command in recipe.commands:
        run(copy, *command.split())
