"""The label set: labels, labels add, labels remove, labels rename."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from genre_assets.cli.base import plain, say, stack_settings
from genre_assets.labels import advice
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

FOLLOWS = "The running stack takes it up by itself: the label's partition, its features, then a retraining."


def show(context: typer.Context) -> None:
    """List the labels with their objects in the raw bucket, and the folders that are no label's."""
    if context.invoked_subcommand is not None:
        return
    from genre_assets.audio import label_changes

    settings, store = _stack()
    found = label_changes.overview(store, settings)
    table = Table("label", "objects", "also known as", "description")
    for label in found.labels.labels:
        table.add_row(
            plain(label.name), str(found.objects[label.name]), plain(", ".join(label.aliases)), plain(label.description)
        )
    Console().print(table)
    for folder, count in found.unknown.items():
        if folder:
            say(f"left out: {count} objects in {folder}/, which is no label's: {advice(folder)}")
        else:
            say(f"left out: {count} objects in no folder")
    state = "kept in labels.yaml" if found.kept else "open: every folder is a label until the first training set"
    typer.echo(f"{len(found.labels.names)} labels, version {found.labels.version}; {state}")


def add(
    names: Annotated[list[str], typer.Argument(help="Its folder in the raw bucket; several at once.")],
    alias: Annotated[list[str] | None, typer.Option(help="Another name that sources have for it.")] = None,
) -> None:
    """Add labels, at the end of the set. Their audio goes to <label>/ in the raw bucket."""
    from genre_assets.audio import label_changes

    settings, store = _stack()
    label_changes.add(store, settings, names, alias or [])
    say(f"added: {', '.join(names)}. {FOLLOWS}")


def remove(name: Annotated[str, typer.Argument(help="A label of the set.")]) -> None:
    """Take a label out of the set. Its audio stays in the bucket and is left out, as of no label."""
    from genre_assets.audio import label_changes

    settings, store = _stack()
    label_changes.remove(store, settings, name)
    say(f"removed: {name}; its audio is left where it is. {FOLLOWS}")


def rename(
    old: Annotated[str, typer.Argument(help="A label of the set.")],
    new: Annotated[str, typer.Argument(help="Its new name.")],
) -> None:
    """Give a label another name: its audio moves to the new folder; the old name stays known as an alias."""
    from genre_assets.audio import label_changes

    settings, store = _stack()
    label, moved = label_changes.rename(store, settings, old, new)
    say(f"{old} is {label.name} now, {moved} objects moved. {FOLLOWS}")


def _stack() -> tuple[Settings, ObjectStore]:
    from genre_assets.store import s3_client

    settings = stack_settings("s3_endpoint_url")
    return settings, ObjectStore(s3_client(settings))


COMMANDS = (add, remove, rename)
