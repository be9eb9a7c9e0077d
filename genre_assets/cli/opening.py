"""Where the platform's pages are: their addresses, opened in a browser where there is one."""

import os
import sys
import webbrowser
from enum import StrEnum
from typing import Annotated

import typer

from genre_assets.cli.base import say, stack_settings
from genre_assets.errors import BadInput
from genre_assets.settings import Settings, load_settings
from genre_assets.text import visible


class Page(StrEnum):
    """The pages for people."""

    GATEWAY = "gateway"
    DAGSTER = "dagster"
    MLFLOW = "mlflow"
    WINDOWS = "windows"


def open(page: Annotated[Page, typer.Argument(help="Which page.")] = Page.GATEWAY) -> None:  # noqa: A001  # the command's name
    """Print the address of a page, and open it in the browser if this terminal has a display."""
    _show(_address(load_settings(), page))


def report(
    window: Annotated[
        str | None,
        typer.Argument(help="A window, as genre-assets windows names it; default: the newest with a report."),
    ] = None,
    in_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Print what was found in a window, and where its drift report is."""
    from genre_assets.database import Database
    from genre_assets.serving.drift import window_store

    settings = stack_settings("database_url")
    database = Database(settings.database_url.get_secret_value())
    if window is None:
        found = next((one for one in window_store.newest(database, 100) if one.report), None)
        if found is None:
            raise BadInput("no window has a report yet; genre-assets windows shows what was judged")
    else:
        found = window_store.by_id(database, window)
        if found is None:
            raise BadInput(f"there is no window {window!r}: genre-assets windows names them")
    typer.echo(visible(f"{found.window.id}  {found.level or 'not judged yet'}: {found.reason or 'no finding yet'}"))
    if found.report is None:
        raise BadInput(f"{found.window.id} has no report yet: it is written when the window is judged")
    typer.echo(f"s3://{settings.serving_bucket}/{found.report}")
    address = f"{settings.gateway_link}/v1/windows/{found.window.id}/report"
    if in_browser:
        _show(address)
    else:
        typer.echo(address)


def _address(settings: Settings, page: Page) -> str:
    return {
        Page.GATEWAY: settings.gateway_link,
        Page.DAGSTER: settings.dagster_link,
        Page.MLFLOW: settings.mlflow_page,
        Page.WINDOWS: f"{settings.gateway_link}/windows",
    }[page]


def _show(address: str) -> None:
    """Print the address; hand it to the browser of this desktop."""
    typer.echo(address)
    if not (sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))):
        return
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        say("no browser could be started here: open the address yourself")
