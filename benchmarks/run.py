"""`make bench`: run every `benchmarks/<stage>_*.py`, write `benchmarks/results.json` and print the table.

A benchmark module has `run() -> list[Result-like dict]`, each with `name, value, unit, bar, holds, command`. Figures
are ratios between things measured in the same run wherever a machine's speed would show.

    python -m benchmarks.run [NAME ...]     # all, or those whose module name contains one of the words
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"


class Result(TypedDict):
    """One measured figure: `bar` says what it must reach (empty: none), `holds` whether it does."""

    name: str
    value: float
    unit: str
    bar: str
    holds: bool
    command: str


def modules(words: list[str]) -> list[str]:
    """Benchmark modules to run, in name order."""
    names = [path.stem for path in sorted(FOLDER.glob("*_*.py")) if not path.stem.startswith("_")]
    return [name for name in names if not words or any(word in name for word in words)]


def main() -> None:
    """Run, merge with the results of modules that were not run, print."""
    console = Console()
    words = sys.argv[1:]
    kept: list[Result] = json.loads(RESULTS.read_text()) if RESULTS.exists() and words else []
    for name in modules(words):
        console.print(f"[bold]{name}[/]")
        began = time.monotonic()
        found: list[Result] = importlib.import_module(f"benchmarks.{name}").run()
        known = {result["name"] for result in found}
        kept = [result for result in kept if result["name"] not in known] + found
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        console.print(f"  {len(found)} figures in {time.monotonic() - began:.0f} s")
    table = Table("figure", "value", "unit", "bar", "holds")
    for result in kept:
        holds = "" if not result["bar"] else "yes" if result["holds"] else "[red]no[/]"
        table.add_row(result["name"], f"{result['value']:.4g}", result["unit"], result["bar"], holds)
    console.print(table)


if __name__ == "__main__":
    main()
