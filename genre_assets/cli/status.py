"""What is up, and what serves."""

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from genre_assets.cli.base import NOTHING_SERVED, AsJson, plain
from genre_assets.errors import GenreError
from genre_assets.settings import Settings, load_settings


def status(as_json: AsJson = False) -> None:
    """Show each service: its address, whether it is healthy, and why not. Exit code 1 if one is not healthy."""
    from genre_assets.stack import local

    settings = load_settings()
    services = local.status(settings)
    if as_json:
        typer.echo(json.dumps({"services": services, "route": _route(settings)}, indent=1))
    else:
        print_status(services, settings)
    if not all(service["healthy"] for service in services.values()):
        raise typer.Exit(1)


def print_status(services: dict[str, dict[str, Any]], settings: Settings) -> None:
    """The services as a table on standard output, then the route."""
    table = Table("service", "healthy", "address", "why")
    for name, service in services.items():
        address = service.get("url") or service.get("http") or ""
        table.add_row(
            name, "yes" if service["healthy"] else "[red]no[/]", plain(address), plain(service.get("why", ""))
        )
    Console().print(table)
    route = _route(settings)
    typer.echo(f"route: {route or NOTHING_SERVED}")


def _route(settings: Settings) -> str | None:
    from genre_assets.serving.control import TritonControl

    try:
        return TritonControl.from_settings(settings).route()
    except GenreError:
        return None
