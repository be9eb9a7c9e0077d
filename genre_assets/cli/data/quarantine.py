"""The files of the raw bucket that are used for nothing: quarantine, and what a person decides of one."""

import json
from typing import Annotated

import typer

from genre_assets.cli.base import AsJson, Limit, say, say_listed, stack_settings, this_person
from genre_assets.errors import BadInput
from genre_assets.text import visible


def quarantine(
    limit: Limit = 50,
    as_json: AsJson = False,
    put_back: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Use this file after all, read it again, or undo that it was dropped."),
    ] = None,
    drop: Annotated[str | None, typer.Option(metavar="KEY", help="Take this file out of the raw bucket.")] = None,
    reason: Annotated[str, typer.Option(help="Why; goes into the audit table with the decision.")] = "",
    by: Annotated[str, typer.Option(help="Who decides it. Default: the user.")] = "",
) -> None:
    """Show the files in the raw bucket that are used for nothing, the newest first, each with its reason; or decide on one."""
    from genre_assets.audio import quarantine as files
    from genre_assets.database import Database
    from genre_assets.store import ObjectStore, s3_client

    deciding = put_back is not None or drop is not None
    settings = stack_settings("s3_endpoint_url", *(["database_url"] if deciding else []))
    store = ObjectStore(s3_client(settings))
    if deciding:
        if put_back is not None and drop is not None:
            raise BadInput("one decision at a time: --put-back or --drop")
        key = (put_back or drop or "").removeprefix(f"s3://{settings.raw_bucket}/")
        database = Database(settings.database_url.get_secret_value())
        decide = files.drop if drop is not None else files.put_back
        say(decide(store, settings, database, key, by=by or this_person() or "person", reason=reason))
        return
    rows = files.listed(store, settings, limit)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        detail = f": {row['detail']}" if row["detail"] else ""
        waiting = f" ({row['waiting']})" if row["waiting"] else ""
        typer.echo(visible(f"s3://{settings.raw_bucket}/{row['key']}: {row['verdict']}{detail}{waiting}"))
    if rows:
        say_listed(len(rows), "file is in quarantine", "files are in quarantine", limit)
    else:
        typer.echo("every file is used")
