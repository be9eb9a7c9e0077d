"""The platform's pages: open, and their addresses in a browser where there is one."""

import os
import sys
import webbrowser
from enum import StrEnum
from typing import Annotated

import typer

from genre_assets.cli.base import say
from genre_assets.settings import Settings, load_settings


class Page(StrEnum):
    """The pages for people."""

    GATEWAY = "gateway"
    DAGSTER = "dagster"
    MLFLOW = "mlflow"
    WINDOWS = "windows"


def open(page: Annotated[Page, typer.Argument(help="Which page.")] = Page.GATEWAY) -> None:  # noqa: A001  # the command's name
    """Print the address of a page, and open it in the browser if this terminal has a display."""
    show(_address(load_settings(), page))


def _address(settings: Settings, page: Page) -> str:
    return {
        Page.GATEWAY: settings.gateway_link,
        Page.DAGSTER: settings.dagster_link,
        Page.MLFLOW: settings.mlflow_page,
        Page.WINDOWS: f"{settings.gateway_link}/windows",
    }[page]


def show(address: str) -> None:
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
