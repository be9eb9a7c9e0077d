"""What the groups of commands share: words for people, options that several take, the bar."""

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from genre_assets.errors import Interrupted
from genre_assets.settings import Settings, load_settings
from genre_assets.text import visible

NOTHING_SERVED = "nothing is served yet; build with: genre-assets run"
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Launch the run, print where it is seen, and end.")]
console = Console(stderr=True, highlight=False)


def plain(text: object) -> Text:
    """Text that is not ours, for a console or a table: no markup in it counts, control characters are written out."""
    return Text(visible(text))


def say(text: object) -> None:
    """A line on standard error, with no markup in it."""
    console.print(plain(text), soft_wrap=True)


def counted(number: int, one: str, many: str) -> str:
    """`1 window`, `2 windows`."""
    return f"{number} {one if number == 1 else many}"


def say_listed(number: int, one: str, many: str, limit: int) -> None:
    """How many were listed, as the last line of a list; and how to see more, where the limit may have cut it off."""
    say(counted(number, one, many) + (f"; there may be more: --limit {2 * limit}" if number >= limit else ""))


def say_error(text: object) -> None:
    """What went wrong, on standard error."""
    console.print(Text.assemble(("error:", "red"), " ", plain(text)), soft_wrap=True)


def stack_settings(*addresses: str) -> Settings:
    """The settings, once it is certain whose services stand behind these addresses; see `own_stack`."""
    from genre_assets.stack.own_stack import require_own

    settings = load_settings()
    require_own(settings, *addresses)
    return settings


def this_person() -> str:
    """The name of the user; empty where the machine knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


@contextmanager
def interruptible(said: str) -> Iterator[None]:
    """Ctrl-C within ends the command with one line that says so, unless what was interrupted knows better."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(said) from None


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; the block is given `advance(done, total)`."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def launching(settings: Settings) -> str:
    """What is to be said of a run that nobody knows yet."""
    return f"whether the run was launched is seen at {settings.dagster_link}/runs"
