"""Answered clips for people to label, and their labels back: review."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from genre_assets.cli.base import Limit, say, stack_settings, this_person


class ListFormat(StrEnum):
    """How the list for labelling is written."""

    CSV = "csv"
    LABEL_STUDIO = "label-studio"


def review(
    table: Annotated[
        Path,
        typer.Argument(
            help="A file: the list to fill in, or with --take the filled-in one (CSV, or Label Studio's JSON)."
        ),
    ],
    take: Annotated[bool, typer.Option("--take", help="Send the labels in the file to labels/ in S3.")] = False,
    by: Annotated[
        str, typer.Option(help="With --take: who labelled, where the file does not say; default: the user.")
    ] = "",
    form: Annotated[ListFormat, typer.Option("--format", help="A table, or tasks for Label Studio.")] = ListFormat.CSV,
    limit: Limit = 50,
) -> None:
    """Write the answered clips that are worth a label, each song once, or take labels back: they become training data."""
    from genre_assets.database import Database
    from genre_assets.serving.feedback.label_lists import take_labels
    from genre_assets.serving.feedback.review import candidates, write_list, write_tasks
    from genre_assets.store import ObjectStore, s3_client

    settings = stack_settings("s3_endpoint_url") if take else stack_settings("s3_endpoint_url", "database_url")
    store = ObjectStore(s3_client(settings))
    if take:
        key, count = take_labels(table, store, settings, by=by or this_person())
        typer.echo(f"{count} labels sent as {key}")
        return
    listed = candidates(Database(settings.database_url.get_secret_value()), store, settings, limit=limit)
    if form is ListFormat.LABEL_STUDIO:
        page, mute = write_tasks(table, listed, store, settings)
        typer.echo(
            f"{len(listed) - mute} tasks in {table}, the labelling page in {page}: import both into Label Studio, export as "
            f"JSON, then: genre-assets review EXPORT.json --take"
        )
        if mute:
            say(f"{mute} clips are left out: their audio was not kept, so nothing can be played")
        return
    write_list(table, listed)
    typer.echo(
        f"{len(listed)} clips listed in {table}: fill in the column genre, then: genre-assets review {table} --take"
    )
