"""Keys of the gateway: api-keys, api-keys add, api-keys revoke."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from genre_assets.cli.base import AsJson, counted, plain, say, stack_settings, this_person
from genre_assets.database import Database
from genre_assets.gateway.access import api_keys
from genre_assets.gateway.access.api_keys import Scope

NO_KEYS = "there are no keys yet: genre-assets api-keys add NAME --scope predict"
Name = Annotated[str, typer.Argument(help="Whose it is: a person or a program.")]


def show(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, with what they are for. The keys themselves are kept nowhere."""
    if context.invoked_subcommand is not None:
        return
    found = api_keys.listed(_database())
    if as_json:
        typer.echo(json.dumps([asdict(key) | {"scopes": sorted(key.scopes)} for key in found], indent=1, default=str))
        return
    table = Table("key", "scopes", "a minute", "MB", "made", "by", "last used", "state")
    for key in found:
        limits = [str(limit) if limit is not None else "no limit" for limit in (key.per_minute, key.max_mb)]
        made, used = (f"{at:%Y-%m-%d %H:%M}" if at else "never" for at in (key.created_at, key.used_at))
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "in force"
        table.add_row(key.name, " ".join(sorted(key.scopes)), *limits, made, plain(key.created_by), used, state)
    if found:
        Console().print(table)
    say(f"{counted(sum(key.revoked_at is None for key in found), 'key is', 'keys are')} in force" if found else NO_KEYS)


def add(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="What it is for; several times for several.")],
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute; default: no limit.")] = None,
    max_mb: Annotated[float | None, typer.Option(help="Of one request; default: what the server takes.")] = None,
) -> None:
    """Make a key and print it on standard output: it is shown this once."""
    key = api_keys.create(
        _database(), name, frozenset(scope), by=this_person() or "unknown", per_minute=per_minute, max_mb=max_mb
    )
    typer.echo(key)
    say(
        f"the key of {name}, for {', '.join(sorted(scope))}; it is kept nowhere else. Send it as Authorization: Bearer KEY"
    )


def revoke(name: Name) -> None:
    """Let nobody in by the key any more, within ten seconds."""
    api_keys.revoke(_database(), name)
    say(f"the key of {name} is revoked")


COMMANDS = (add, revoke)


def _database() -> Database:
    return Database(stack_settings("database_url").database_url.get_secret_value())
