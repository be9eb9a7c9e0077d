"""`genre-assets`: the platform from a terminal. Each command is a thin layer over functions that a notebook can call.

A room for each panel of the help, with a file for each command or few that belong together; `COMMANDS` holds the panels and
their order. What all share is here: words and options (`base`), and how a command ends (`guard`).
"""

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from genre_assets.cli.data import audio, labels, quarantine
from genre_assets.cli.guard import guarded
from genre_assets.cli.models import jobs, versions
from genre_assets.cli.serving import api_keys, batch, predict, promote, review, windows
from genre_assets.cli.stack import alerts, backups, doctor, pages, services, status

_debug = False
app = typer.Typer(
    help="Audio classification in production: labelled audio in S3 to a Triton ensemble that watches itself.\n\n"
    "A first walk: [bold]genre-assets up[/], [bold]genre-assets ingest my_music/[/] (sub-folders are labels), "
    "[bold]genre-assets run[/], [bold]genre-assets predict song.mp3[/]. "
    "[bold]genre-assets demo[/] does all of it on sample music.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
COMMANDS = {
    "Stack": (
        *(services.up, services.down, services.migrate, backups.backup, backups.restore, services.env),
        *(status.status, doctor.doctor, pages.open, services.logs, alerts.alerts, services.demo),
    ),
    "Data": (audio.ingest, quarantine.quarantine, audio.gtzan, audio.extract),
    "Models": (jobs.run, versions.history, versions.rollback),
    "Serving": (
        *(predict.predict, batch.batch, promote.promote, windows.windows, windows.report, review.review),
        windows.backfill,
    ),
}


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"genre-assets {version('genre-assets')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Say the version and do nothing.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    global _debug
    _debug = debug


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(guarded(command, lambda: _debug))

for name, panel, group, what in (
    ("labels", "Data", labels, "The labels there are; add, rename, remove."),
    ("api-keys", "Serving", api_keys, "The keys of the gateway; add, revoke."),
):
    nested = typer.Typer(help=what, rich_markup_mode="rich")
    nested.callback(invoke_without_command=True)(guarded(group.show, lambda: _debug))
    for change in group.COMMANDS:
        nested.command()(guarded(change, lambda: _debug))
    app.add_typer(nested, name=name, rich_help_panel=panel)


def main() -> None:
    """Entry point. Whatever goes wrong is a message and an exit code; see `guard`."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
