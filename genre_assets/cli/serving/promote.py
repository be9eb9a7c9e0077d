"""Which of champion and fallback serves: promote."""

from typing import Annotated

import typer

from genre_assets.cli.base import NoWait, say, stack_settings


def promote(
    route: Annotated[str, typer.Argument(help="champion or fallback: the one that is to serve.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit table.")],
    pin: Annotated[bool, typer.Option("--pin", help="Hold it, whatever drift says, until the next promote.")] = False,
    no_wait: NoWait = False,
) -> None:
    """Let the champion or the fallback serve, by the same job that drift uses. Every move is audited."""
    from genre_assets.stack.orchestrate import follow, launch_promotion

    settings = stack_settings("dagster_url")
    run_id = launch_promotion(settings, route, reason=reason, pin=pin)
    if no_wait:
        typer.echo(f"{settings.dagster_link}/runs/{run_id}")
        return
    follow(settings, run_id, report=say)
    say(f"{route} serves{', pinned' if pin else ''}")
