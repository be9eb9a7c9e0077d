"""The files of the raw bucket that are used for nothing: quarantine."""

import json

import typer

from genre_assets.cli.base import AsJson, Limit, say_listed, stack_settings
from genre_assets.text import visible


def quarantine(limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show the files in the raw bucket that are used for nothing, the newest first, each with its reason."""
    from genre_assets.audio.tables import inventory
    from genre_assets.store import ObjectStore, s3_client

    settings = stack_settings("s3_endpoint_url")
    rows = inventory.quarantined(ObjectStore(s3_client(settings)), settings, limit)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        detail = f": {row['detail']}" if row["detail"] else ""
        typer.echo(visible(f"s3://{settings.raw_bucket}/{row['key']}: {row['verdict']}{detail}"))
    if rows:
        say_listed(len(rows), "file is in quarantine", "files are in quarantine", limit)
    else:
        typer.echo("every file is used")
