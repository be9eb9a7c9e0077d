"""The commands of the program, as they are typed: taken from it, so that a test of all of them forgets no new one."""

from typing import Any

import typer.main

from genre_assets.cli import app


def every_command() -> set[str]:
    """`up`, `labels`, `labels add` and so on."""
    found = _names(typer.main.get_command(app))
    assert len(found) > 20
    return found


def not_among(tried: list[str]) -> set[str]:
    """The commands that none of these command lines begins with."""
    return {name for name in every_command() if not any(f"{words} ".startswith(f"{name} ") for words in tried)}


def _names(group: Any) -> set[str]:
    found = set()
    for name, command in group.commands.items():
        found |= {name, *(f"{name} {one}" for one in (_names(command) if hasattr(command, "commands") else ()))}
    return found
