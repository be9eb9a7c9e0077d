"""What is up, and what serves."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Column, Table

from genre_assets.cli.base import NOTHING_SERVED, AsJson, plain
from genre_assets.settings import load_settings

NO_FALLBACK = (
    "fallback: none. When audio drifts, the champion serves on and retraining is asked for; the check there_is_a_fallback "
    "of champion_models says why"
)

if TYPE_CHECKING:
    from genre_assets.stack.local import Status


def status(as_json: AsJson = False) -> None:
    """Show each service: its address, its light (healthy, unhealthy, unknown), and why. Exit code 1 if one is not healthy.

    Each is asked what a client would ask, all at once; the answer is there within two seconds whatever hangs. Services at
    stated addresses (in containers) are asked there. Also what of code, databases, environment and release does not fit
    together, as `genre-assets doctor` says it; what is not known in time is said to be unknown.
    """
    from genre_assets.stack import fit, local
    from genre_assets.stack.containers import elsewhere

    settings = load_settings()
    beside = fit.Versions(settings)
    if elsewhere.is_meant(settings):
        found = local.Status(*elsewhere.lights(settings, beside=beside))
    else:
        found = local.status(settings, beside=beside)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        print_status(found)
    if not all(service["healthy"] for service in found.services.values()):
        raise typer.Exit(1)


def print_status(found: "Status") -> None:
    """The services as a table on standard output, then what does not fit together, and the route."""
    table = Table("service", "light", "restarts", Column("address", overflow="fold"), "why")
    colours = {"healthy": "green", "unhealthy": "red", "unknown": "yellow"}
    for name, service in found.services.items():
        address = service.get("url") or service.get("http") or ""
        light = f"[{colours[service['light']]}]{service['light']}[/]"
        why = service.get("why") or (f"restarted: {service['last_restart']}" if "last_restart" in service else "")
        restarts = "unknown" if service["restarts"] is None else str(service["restarts"])
        table.add_row(name, light, restarts, plain(address), plain(why))
    Console().print(table)
    lights = {name: found.services[name]["light"] for name in ("triton", "triton-door")}
    away = [f"{name} is {light}" for name, light in lights.items() if light != "healthy"]
    nothing = f"unknown ({', '.join(away)})" if away else NOTHING_SERVED
    for one in found.versions:
        typer.echo(f"{one['level']}: {one['seen']}. {one['do']}")
    typer.echo(f"route: {found.route or nothing}")
    if found.fallback is False:
        typer.echo(NO_FALLBACK)
