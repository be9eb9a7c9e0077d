"""Predictions and what comes back from them: predict, review, backfill."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from genre_assets.cli.base import NOTHING_SERVED, AsJson
from genre_assets.errors import BadInput, GenreError
from genre_assets.settings import Settings, load_settings

Paths = Annotated[list[str], typer.Argument(help="Files, folders or s3://bucket/key addresses.")]


def predict(paths: Paths, as_json: AsJson = False) -> None:
    """Ask the live ensemble for the genre of files, folders or s3:// keys. Exit code 1 if any item failed."""
    from genre_assets.serving.client import GenreClient, collect_items

    settings = load_settings()
    failed = False
    if _nothing_is_released(settings):
        raise BadInput(NOTHING_SERVED)
    with GenreClient(settings.triton_grpc) as client:
        for path, prediction in client.predict_each(collect_items(paths)):
            failed = failed or bool(prediction.error)
            typer.echo(json.dumps({"path": path, **prediction.as_dict()}) if as_json else _line(path, prediction))
    if failed:
        raise typer.Exit(1)


def review(
    table: Annotated[Path, typer.Argument(help="A CSV file: the list to fill in, or with --take the filled-in one.")],
    take: Annotated[bool, typer.Option("--take", help="Send the labels in the file to labels/ in S3.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many clips.")] = 50,
) -> None:
    """Write the answered clips that are worth a label (least sure, most unlike the training data), or take labels back."""
    from genre_assets.database import Database
    from genre_assets.serving.review import candidates, take_labels, write_list
    from genre_assets.store import ObjectStore, s3_client

    settings = load_settings()
    store = ObjectStore(s3_client(settings))
    if take:
        key, count = take_labels(table, store, settings)
        typer.echo(f"{count} labels sent as {key}")
        return
    listed = candidates(Database(settings.database_url.get_secret_value()), store, settings, limit=limit)
    write_list(table, listed)
    typer.echo(
        f"{len(listed)} clips listed in {table}: fill in the column genre, then: genre-assets review {table} --take"
    )


def backfill(
    since: Annotated[datetime | None, typer.Option(help="Windows that closed since then (UTC); default: all.")] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Also draw the Evidently page of each window.")] = False,
) -> None:
    """Judge past windows of answered requests again; safe to interrupt and repeat."""
    from genre_assets.database import Database
    from genre_assets.serving.backfill import backfill as judge_again
    from genre_assets.store import ObjectStore, s3_client

    settings = load_settings()
    judge_again(
        Database(settings.database_url.get_secret_value()),
        ObjectStore(s3_client(settings)),
        settings,
        since=since.replace(tzinfo=UTC) if since else None,
        pages=pages,
        on_window=lambda judged: typer.echo(f"{judged.window.id}: {judged.level}: {judged.reason}"),
    )


def _nothing_is_released(settings: Settings) -> bool:
    """Whether the server is up and has no model at all: waiting for one would not help."""
    from genre_assets.serving.control import TritonControl

    control = TritonControl.from_settings(settings)
    try:
        return not control.ready() and control.index() == []
    except GenreError:
        return False  # the client knows better what is wrong, and tries again


def _line(path: str, prediction: Any) -> str:
    if prediction.error:
        return f"{path}: error: {prediction.error}"
    sure = max(prediction.probabilities.values())
    return f"{path}: {prediction.label} ({sure:.0%}, {prediction.model} version {prediction.version})"
