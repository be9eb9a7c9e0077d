"""`genre-assets`: the platform from a terminal. Each command is a thin layer over functions that a notebook can call.

A file for each group of commands; `COMMANDS` holds their order in the help.
"""

import sys

import typer

from genre_assets.cli import audio, model, serving, stack, status
from genre_assets.cli.base import console
from genre_assets.errors import GenreError

app = typer.Typer(
    help="Audio classification in production: labelled audio in S3 to a Triton ensemble that watches itself.\n\n"
    "A first walk: [bold]genre-assets up[/], [bold]genre-assets ingest my_music/[/] (sub-folders are genres), "
    "[bold]genre-assets run[/], [bold]genre-assets predict song.mp3[/]. "
    "[bold]make demo[/] does all of it on sample music.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
COMMANDS = (
    stack.up,
    stack.down,
    status.status,
    audio.ingest,
    audio.gtzan,
    model.run,
    audio.extract,
    serving.predict,
    model.promote,
    model.history,
    model.rollback,
    serving.review,
    serving.backfill,
    stack.demo,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point: an error that is meant for a person is printed as its message alone, and the exit code is 1."""
    try:
        app()
    except GenreError as error:
        console.print(f"[red]error:[/] {error}", soft_wrap=True, markup=True)
        sys.exit(1)
