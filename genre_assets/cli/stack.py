"""The stack as a whole: up, down, its tables, its backup, and the demo that does everything on it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from genre_assets.cli.base import progress_bar, say, stack_settings
from genre_assets.cli.status import print_status
from genre_assets.settings import load_settings


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
    settings = local.up(report=say)
    found = local.status(settings)
    print_status(found)
    for one in skew.find(settings):
        say(f"{one.level}: {one.seen}. {one.do}")
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


def demo(
    audio: Annotated[
        Path | None, typer.Option(help="Folder of your own audio; default: synthetic sample music.")
    ] = None,
) -> None:
    """Run the main job: audio to a live ensemble, drift to the fallback, clean audio back to the champion."""
    from genre_assets.demo.story import tell

    tell(audio)


def backup(
    place: Annotated[str, typer.Argument(help="A new folder, or s3://bucket/prefix of a bucket of its own.")],
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Keep the secrets too, in a file that its owner alone reads.")
    ] = False,
) -> None:
    """Back up the four databases, the buckets and the releases as one set, while the stack runs or is down.

    Requests are answered meanwhile. Databases come before buckets: their rows name only objects that are there. What a
    backup that broke off has left in the same place is used again.
    """
    from genre_assets.backup.save import save

    with progress_bar("objects") as progress:
        say(save(load_settings(), place, secrets=with_secrets, say=say, progress=progress))


def restore(
    place: Annotated[str, typer.Argument(help="What genre-assets backup was given.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove what is here: all databases' tables and all objects.")
    ] = False,
    sign: Annotated[
        bool, typer.Option("--sign", help="The archive is mine: sign another stack's releases by this one's key.")
    ] = False,
) -> None:
    """Put a backup into an empty stack that is down; then: genre-assets up. It serves what served, with the same answers.

    Every part is compared with its hash before anything is changed. Tables of earlier code are brought up.
    """
    from genre_assets.backup import data_services
    from genre_assets.backup.places import SCHEME, Folder
    from genre_assets.backup.restore import read_manifest, restore
    from genre_assets.stack.configuration import configure

    settings = load_settings()
    if not place.startswith(SCHEME):
        read_manifest(Folder(Path(place).absolute()))
    if not data_services.are_elsewhere(settings):
        data_services.refuse_running(settings)
        settings = configure()
    with progress_bar("objects") as progress:
        say(restore(settings, place, replace=replace, sign=sign, say=say, progress=progress))
