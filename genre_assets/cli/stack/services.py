"""The local services and their tables: up, down, migrate, env, logs, and the demo that does everything on them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from genre_assets.cli.base import interruptible, say, stack_settings
from genre_assets.cli.stack.status import print_status
from genre_assets.errors import BadInput, Interrupted
from genre_assets.settings import load_settings
from genre_assets.text import visible

GOING_UP = (
    "services that were started go on; genre-assets status tells how they are, genre-assets down stops them, and "
    "genre-assets up goes on from there"
)
STORY_GOES_ON = (
    "the services stay up with the story's settings; genre-assets demo goes on from there, genre-assets up ends the story, "
    "genre-assets down stops them"
)


def up(
    observability: Annotated[
        bool | None,
        typer.Option(
            "--observability/--no-observability",
            help="Prometheus, Alertmanager and the node exporter too, from Debian's packages; later commands remember it.",
        ),
    ] = None,
) -> None:
    """Start the local services (S3, PostgreSQL, MLflow, Triton, Dagster) and wait until each is healthy.

    State lives in $GENRE_HOME (default .genre). Every GENRE_* variable set now is kept there for later commands.
    GENRE_PORT_OFFSET=100 GENRE_HOME=.genre2 genre-assets up starts a second stack beside the first.
    """
    from genre_assets.stack import local, skew
    from genre_assets.stack.services.observability import require_programs

    if observability is not None:
        if observability:
            require_programs()
        os.environ["GENRE_OBSERVABILITY"] = str(observability).lower()  # as if it were stated: it is remembered
    with interruptible(GOING_UP):
        settings = local.up(report=say)
    found = local.status(settings)
    print_status(replace(found, versions=[one.as_json() for one in skew.find(settings)]))
    healthy = sum(service["healthy"] for service in found.services.values())
    lights = "each healthy" if healthy == len(found.services) else f"{healthy} healthy"
    say(
        f"the stack in {settings.home} is up: {len(found.services)} services, {lights}; Dagster {settings.dagster_link}, "
        f"gateway {settings.gateway_link}; stop it with: genre-assets down"
    )


def down() -> None:
    """Stop the local services and leave no process, port or shared-memory file. Data stays in $GENRE_HOME."""
    from genre_assets.stack import local

    settings = load_settings()
    if local.down(settings, report=say):
        say(f"the stack in {settings.home} is stopped; its data and logs stay there")
    else:
        say(f"no stack runs in {settings.home}: there was nothing to stop")


def migrate() -> None:
    """Bring the tables in PostgreSQL up to this version of the code, with their data: the platform's, Dagster's, MLflow's.

    Of the platform's own, `up` does it, and so does whatever first asks the database; an installation without `up` may want
    to choose when.
    """
    from genre_assets.database import Database
    from genre_assets.stack import skew, table_versions
    from genre_assets.stack.containers.init import upgrade_dagster, upgrade_mlflow

    settings = stack_settings("database_url")
    for name, bring_up in (("dagster", upgrade_dagster), ("mlflow", upgrade_mlflow)):
        there = (
            table_versions.read(name, table_versions.stated(settings, name)) if name in skew.reachable(settings) else ""
        )
        if table_versions.standing(name, there or "") == "older":
            bring_up(settings)
            say(f"the tables of {name} were at version {there}, and are at this code's now")
    url = settings.database_url.get_secret_value()
    before, now = Database(url, tables=False).version(), Database(url).version()
    say(f"the tables are at version {now}" + ("" if now == before else f" (were at {before or 'none'})"))


def env(
    file: Annotated[
        Path | None, typer.Argument(help="A new file, which must not be there yet; default: standard output.")
    ] = None,
) -> None:
    """Write the .env of docker-compose: fresh secrets, and every setting that may be changed. Then: docker compose up."""
    from genre_assets.stack.containers import secrets_file

    text = secrets_file.new_environment()
    if file is None:
        secrets_file.close_output()
        typer.echo(text, nl=False)
    else:
        secrets_file.write(file, text)
        say(f"{file} is written, for its owner alone; next: docker compose up --build --wait")


def logs(
    service: Annotated[str, typer.Argument(help="A service, as genre-assets status names it.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="So many of its last lines.")] = 50,
) -> None:
    """Print the last lines of what a service of the local stack printed, and where the rest is."""
    from genre_assets.stack.services.catalogue import services

    settings = load_settings()
    files = {one.name: one.log for one in services(settings)}
    files["supervisor"] = settings.home / "logs" / "supervisor.log"
    if service not in files:
        raise BadInput(f"there is no service {service!r}; there are: {', '.join(files)}")
    try:
        text = files[service].read_text(errors="backslashreplace")
    except FileNotFoundError:
        raise BadInput(f"{files[service]} is not there: {service} has not run in {settings.home}") from None
    for line in text.splitlines()[-lines:]:
        typer.echo(visible(line))
    typer.echo(f"all of it: {files[service]}", err=True)


def demo(
    audio: Annotated[
        Path | None, typer.Option(help="Folder of your own audio; default: synthetic sample music.")
    ] = None,
) -> None:
    """Run the main job: audio to a live ensemble, drift to the fallback, clean audio back to the champion."""
    from genre_assets.demo.story import tell

    try:
        tell(audio)
    except KeyboardInterrupt as stop:
        said = f"{stop}; " if isinstance(stop, Interrupted) else ""
        raise Interrupted(f"{said}{STORY_GOES_ON}") from None
