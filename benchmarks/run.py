"""`make bench`: run every `benchmarks/<stage>_*.py`, write `benchmarks/results.json` and print the table.

A benchmark module has `run() -> list[Result-like dict]`, each with `name, value, unit, bar, holds, command`; the command
is written here, whatever the module says, so that it is the one that measures the figure again. Figures are ratios between
things measured in the same run wherever a machine's speed would show. The pages that quote figures are written anew
(`benchmarks/docs.py`).

    python -m benchmarks.run [NAME ...]     # all, or those whose module name contains one of the words
"""

import importlib
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks import docs, figures
from benchmarks.figures import FOLDER, RESULTS, Result


def modules(words: list[str]) -> list[str]:
    """Benchmark modules to run, in name order."""
    names = [path.stem for path in sorted(FOLDER.glob("*_*.py")) if not path.stem.startswith("_")]
    return [name for name in names if not words or any(word in name for word in words)]


def main() -> None:
    """Run, merge with the results of modules that were not run, print."""
    console = Console()
    words = sys.argv[1:]
    kept = figures.read() if RESULTS.exists() and words else []
    for name in modules(words):
        console.print(f"[bold]{name}[/]")
        began = time.monotonic()
        measured: list[Result] = importlib.import_module(f"benchmarks.{name}").run()
        found = [Result(**{**result, "command": f"python -m benchmarks.run {name}"}) for result in measured]
        known = {result["name"] for result in found}
        kept = [result for result in kept if result["name"] not in known] + found
        figures.write(kept)
        console.print(f"  {len(found)} figures in {time.monotonic() - began:.0f} s")
    table = Table("figure", "value", "unit", "bar", "holds")
    for result in kept:
        holds = "" if not result["bar"] else "yes" if result["holds"] else "[red]no[/]"
        table.add_row(result["name"], f"{result['value']:.4g}", result["unit"], result["bar"], holds)
    console.print(table)
    docs.main()


if __name__ == "__main__":
    main()
