"""Windows of answered items, and what was found in them: windows, report, backfill."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from genre_assets.cli.base import AsJson, Limit, counted, say, say_listed, stack_settings
from genre_assets.cli.stack.pages import show
from genre_assets.errors import BadInput
from genre_assets.text import visible


def windows(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Show the newest windows of answered items, the newest first: their level, their model, and why."""
    from genre_assets.database import Database
    from genre_assets.serving.drift import window_store

    database = Database(stack_settings("database_url").database_url.get_secret_value())
    found = window_store.newest(database, limit)
    if as_json:
        typer.echo(json.dumps([result.as_json() for result in found], indent=1))
        return
    for result in found:
        window = result.window
        when, level = window.closed_at.strftime("%Y-%m-%d %H:%M:%S"), result.level or "not evaluated yet"
        answered = f"{window.epoch.route} version {window.epoch.version}, {window.items} items, window {window.id}"
        typer.echo(visible(f"{when}  {level}: {answered}"))
        if result.reason:
            typer.echo(visible(f"    {result.reason}"))
    if found:
        say_listed(len(found), "window", "windows", limit)
    else:
        typer.echo("no window has been evaluated yet")


def report(
    window: Annotated[
        str | None,
        typer.Argument(help="A window, as genre-assets windows names it; default: the newest with a report."),
    ] = None,
    in_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Print what was found in a window, and where its drift report is."""
    from genre_assets.database import Database
    from genre_assets.serving.drift import window_store

    settings = stack_settings("database_url")
    database = Database(settings.database_url.get_secret_value())
    if window is None:
        found = next((one for one in window_store.newest(database, 100) if one.report), None)
        if found is None:
            raise BadInput("no window has a report yet; genre-assets windows shows what was evaluated")
    else:
        found = window_store.by_id(database, window)
        if found is None:
            raise BadInput(f"there is no window {window!r}: genre-assets windows names them")
    typer.echo(visible(f"{found.window.id}  {found.level or 'not evaluated yet'}: {found.reason or 'no finding yet'}"))
    if found.report is None:
        raise BadInput(f"{found.window.id} has no report yet: it is written when the window is evaluated")
    typer.echo(f"s3://{settings.serving_bucket}/{found.report}")
    address = f"{settings.gateway_link}/v1/windows/{found.window.id}/report"
    if in_browser:
        show(address)
    else:
        typer.echo(address)


def backfill(
    since: Annotated[datetime | None, typer.Option(help="Windows that closed since then (UTC); default: all.")] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Also draw the Evidently page of each window.")] = False,
) -> None:
    """Evaluate past windows of answered requests again; safe to interrupt and repeat."""
    from genre_assets.database import Database
    from genre_assets.serving.feedback.backfill import backfill as evaluate_again
    from genre_assets.store import ObjectStore, s3_client

    settings = stack_settings("s3_endpoint_url", "database_url")
    done = evaluate_again(
        Database(settings.database_url.get_secret_value()),
        ObjectStore(s3_client(settings)),
        settings,
        since=since.replace(tzinfo=UTC) if since else None,
        pages=pages,
        on_window=lambda result: typer.echo(f"{result.window.id}: {result.level}: {result.reason}"),
    )
    for window, before, after in done.changed:
        say(f"{window} was {before}, and is {after} now")
    of_these = f"{len(done.changed)} with another level than before, {done.cut} cut only now"
    say(f"{counted(done.evaluated, 'window', 'windows')} evaluated again, {of_these}")
