"""Backup and restore: the commands."""

from pathlib import Path
from typing import Annotated

import typer

from genre_assets.cli.base import progress_bar, say
from genre_assets.settings import load_settings


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
