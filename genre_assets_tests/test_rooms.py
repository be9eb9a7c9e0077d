"""Rules of rooms: each package says what belongs in it, and none is a hall. The order of floors is import-linter's."""

import ast
from pathlib import Path

import pytest

from genre_assets.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
ROOMS = sorted(path.parent for path in (ROOT / "genre_assets").rglob("__init__.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS, ids=name)
def test_a_package_says_what_is_in_it_what_may_be_added_and_what_not(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    if room.name in {"cli", "demo"}:
        assert said
    else:
        words = " ".join(said.split())
        assert "Add here:" in words, name(room)
        assert "Not here:" in words, name(room)


@pytest.mark.parametrize("room", ROOMS, ids=name)
def test_no_package_is_a_hall(room: Path) -> None:
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= 15


def test_a_command_is_in_the_room_of_its_panel() -> None:
    rooms = {name: {one.__module__.split(".")[2] for one in commands} for name, commands in COMMANDS.items()}
    assert rooms == {name: {name.lower()} for name in COMMANDS}


def test_the_docs_name_every_package() -> None:
    page = (ROOT / "docs" / "tree.md").read_text()
    unnamed = [
        name(room) for room in ROOMS[1:] if room.name not in {"cli", "demo"} and f"(../{name(room)})" not in page
    ]
    assert unnamed == []
