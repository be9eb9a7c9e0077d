"""Which versions are champion and fallback, and were: history, rollback."""

import json
import textwrap
from typing import Annotated, Literal

import typer

from genre_assets.cli.base import AsJson, Limit, NoWait, say, say_listed, stack_settings
from genre_assets.text import visible

WIDTH = 76  # of a reason's lines, behind four spaces: 80 columns in all


def history(limit: Limit = 50, as_json: AsJson = False) -> None:
    """Print the audit table: every move of champion, fallback and route, by whom, when and why."""
    from genre_assets import audit
    from genre_assets.database import Database

    moves = audit.history(Database(stack_settings("database_url").database_url.get_secret_value()), limit=limit)
    if as_json:
        rows = [{**vars(move), "at": move.at.isoformat()} for move in moves]
        typer.echo(json.dumps(rows, indent=1))
        return
    for move in moves:
        when, came_from = move.at.strftime("%Y-%m-%d %H:%M:%S"), f"{move.moved_from} -> " if move.moved_from else ""
        typer.echo(visible(f"{when}  {move.subject}: {came_from}{move.moved_to}, by {move.actor}"))
        typer.echo(textwrap.indent(textwrap.fill(visible(move.reason), WIDTH), "    "))
    if moves:
        say_listed(len(moves), "move", "moves", limit)
    else:
        typer.echo("nothing has moved yet")


def rollback(
    version: Annotated[int, typer.Argument(help="The registry version that is to be champion (or fallback).")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit table.")],
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Roll back the fallback instead of the champion.")
    ] = False,
    no_wait: NoWait = False,
) -> None:
    """Go back to an earlier model version and serve it, without a rebuild. The move is audited."""
    from genre_assets.models.mlflow.registry import ModelRegistry
    from genre_assets.models.selection.rollback import rollback as move
    from genre_assets.stack.orchestrate import follow, launch

    settings = stack_settings("mlflow_database_url", "s3_endpoint_url", "database_url", "dagster_url")
    alias: Literal["champion", "fallback"] = "fallback" if fallback else "champion"
    registry = ModelRegistry.from_settings(settings)
    say(move(registry, version, alias=alias, actor="person", reason=reason, floor=settings.fallback_floor))
    run_id = launch(settings, "release")
    if no_wait:
        typer.echo(f"{settings.dagster_link}/runs/{run_id}")
        return
    follow(settings, run_id, report=say)
    say(f"the release with version {version} as {alias} is live")
