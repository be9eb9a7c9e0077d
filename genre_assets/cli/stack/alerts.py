"""What is wrong now, and who was notified."""

import json
from typing import Annotated

import typer

from genre_assets.cli.base import AsJson, Limit, say_error, say_listed
from genre_assets.cli.guard import code_of
from genre_assets.errors import GenreError
from genre_assets.settings import load_settings
from genre_assets.text import visible


def alerts(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Show the open alerts: what is wrong, since when, how often it was seen, and who was notified.

    Exit code 1 if the alerts in the database cannot be read; those of the supervisor are shown all the same.
    """
    from genre_assets.database import Database
    from genre_assets.serving.alerts import channels, listing
    from genre_assets.stack.own_stack import require_own

    settings = load_settings()
    database = Database(settings.database_url.get_secret_value())
    shown: list[listing.Shown] = []
    problems: list[GenreError] = []
    try:
        shown += listing.from_file(listing.supervisors_file(settings.home), resolved=everything)
    except GenreError as error:
        problems.append(error)
    try:
        require_own(settings, "database_url")
        shown += listing.from_database(database, resolved=everything, limit=limit)
    except GenreError as error:
        problems.append(error)
    has_channel = bool(channels.from_settings(settings))
    if as_json:
        rows = [alert.as_json() for alert in shown]
        typer.echo(
            json.dumps({"alerts": rows, "problems": [*map(str, problems)], "has_channel": has_channel}, indent=1)
        )
    else:
        for alert in shown:
            since = f"since {alert.opened_at}" + (f", resolved {alert.resolved_at}" if alert.resolved_at else "")
            seen = f", seen {alert.seen} times" if alert.seen is not None else ""
            notified = alert.notified or (() if has_channel else (listing.NO_CHANNEL,))
            lines = [
                f"{alert.severity}: {alert.title} ({alert.key})",
                f"{since}{seen}",
                *alert.body.splitlines(),
                *(f"{name}: {url}" for name, url in alert.links.items()),
                *(f"notified: {line}" for line in notified),
            ]
            typer.echo(visible("\n    ".join(lines)))
        if shown:
            one, many = ("alert", "alerts, open and resolved") if everything else ("alert is open", "alerts are open")
            say_listed(len(shown), one, many, limit)
        elif not problems:
            typer.echo("no alert is open" if not everything else "there are no alerts")
    for problem in problems:
        say_error(str(problem))
    if problems:
        raise typer.Exit(code_of(problems[-1]))
