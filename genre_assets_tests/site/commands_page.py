"""The commands, from the parser that reads them."""

from typing import Any

import click
import typer.main
from typer.core import TyperGroup

from genre_assets.cli import COMMANDS, app
from genre_assets_tests.site.markdown import code, page, sentence, table


def commands_page() -> str:
    """Each command with its arguments and options, by the panels of the help."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    panels: dict[str, list[str]] = {panel: [] for panel in COMMANDS}
    for name, command in group.commands.items():
        panels.setdefault(str(getattr(command, "rich_help_panel", "")), []).append(_described(name, command))
    return page(
        "Commands",
        "Each is `genre-assets COMMAND`. `--help` says the same. Exit codes: 0 all is well, 1 it failed or something is not well, 2 a wrong "
        "argument or no stack to act on, 130 interrupted.",
        *(f"## {panel}\n\n" + "\n".join(parts) for panel, parts in panels.items()),
    )


def _described(name: str, command: Any, level: int = 3) -> str:
    parameters = [
        (_names(one), sentence(getattr(one, "help", None) or ""), _default(one))
        for one in command.params
        if one.name not in {"help", "install_completion", "show_completion"}
    ]
    lines = [f"{'#' * level} {code(name)}\n", f"{_plain(command.help)}\n"]
    if parameters:
        lines.append(table(("Argument or option", "What it is", "Default"), parameters))
    lines += [_described(f"{name} {sub}", each, level + 1) for sub, each in getattr(command, "commands", {}).items()]
    return "\n".join(lines)


def _plain(text: str | None) -> str:
    return "\n\n".join(sentence(paragraph) for paragraph in (text or "").replace("\f", "").split("\n\n")).replace(
        "<", "&lt;"
    )


def _names(parameter: click.Parameter) -> str:
    if parameter.param_type_name == "argument":
        named = (parameter.metavar or parameter.name or "").upper()
        return code(named + ("..." if parameter.nargs == -1 else ""))
    return ", ".join(code(option) for option in [*parameter.opts, *parameter.secondary_opts])


def _default(parameter: click.Parameter) -> str:
    if parameter.required:
        return "required"
    given = parameter.default
    if given is None or given is False or given == "" or callable(given) or given == ():
        return ""
    return code(getattr(given, "value", given))
