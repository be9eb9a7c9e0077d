"""How the story is told: each step with its time, and a table at the end."""

import time
from dataclasses import dataclass, field

from rich.console import Console


@dataclass
class Told:
    """What the closing table reports."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, value: object) -> None:
        """One line of the table."""
        self.rows.append((what, str(value)))


class Narrator:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.start = time.monotonic()

    def chapter(self, title: str) -> None:
        """A new step."""
        self.console.print(f"\n[bold]{title}[/]")

    def say(self, text: str) -> None:
        """One line of progress."""
        self.console.print(f"[dim]{time.monotonic() - self.start:6.1f} s[/]  {text}")
