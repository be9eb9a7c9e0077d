"""What the groups of commands share: the console for people, options that several take, the bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

NOTHING_SERVED = "nothing is served yet; build with: genre-assets run"
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
console = Console(stderr=True, highlight=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; the block is given `advance(done, total)`."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
