"""What is wrong with the machine and the settings, and what to do about it."""

import json
from contextlib import suppress

import typer
from rich.console import Console
from rich.text import Text

from genre_assets.cli.base import AsJson, counted, plain, say
from genre_assets.errors import BadInput
from genre_assets.settings import load_settings

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(as_json: AsJson = False) -> None:
    """Look at versions, settings, permissions, disk, ports and leftovers, and say what to do. Exit code 1 if one is a problem.

    Also whether code, databases, environment and release fit together. It needs no service and changes nothing. How the services are is said by `genre-assets status`.
    """
    from genre_assets.stack import diagnosis, skew

    found = list(diagnosis.examine())
    with suppress(BadInput):  # a setting that cannot be read is among what was found
        found += list(skew.find(load_settings()))
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], indent=1))
    else:
        console = Console(highlight=False)
        for one in found:
            mark = (f"{one.level:<8}", COLOURS[one.level])
            console.print(Text.assemble(mark, f" {one.subject}: ", plain(one.seen)), soft_wrap=True)
            if one.do:
                console.print(Text.assemble(" " * 9, plain(one.do)), soft_wrap=True)
    problems, warnings = (
        sum(one.level is level for one in found) for level in (diagnosis.Level.PROBLEM, diagnosis.Level.WARNING)
    )
    say(f"{counted(problems, 'problem', 'problems')}, {counted(warnings, 'warning', 'warnings')}")
    if any(one.level is diagnosis.Level.PROBLEM for one in found):
        raise typer.Exit(1)
