"""The generated parts of the pages: each stands between `<!-- generated: name -->` and `<!-- end -->`."""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genre_assets.steps import Step
from genre_assets_tests.faults.storm.report import asked_for
from genre_assets_tests.reliability.row import Row
from genre_assets_tests.reliability.rows import ROWS
from genre_assets_tests.reliability.rows_of_security import ATTACKS, Attack
from genre_assets_tests.simulator.invariants import ALWAYS, IN_THE_END

TESTS = Path(__file__).resolve().parents[1]
DOCS = TESTS.parent / "docs"
PAGES = ("reliability.md", "operations.md", "security.md")
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str, results: Path = DOCS) -> str:
    """The page with its generated parts as they must be. Raises `KeyError` for a part that nothing makes."""
    parts = {
        "what_to_do": _table(("What happens", "What the platform does", "What you do"), [(r.what, r.then, r.do) for r in ROWS]),
        "shown_by": _table(("What happens", "What the platform does", "Shown by"), [(r.what, r.then, _tests(r)) for r in ROWS]),
        "attacks": _table(("Who", "Tries", "What stops him", "Shown by"), [(a.who, a.tries, a.stopped_by, _tests(a)) for a in ATTACKS]),
        "invariants": "".join(f"- {_first_line(invariant)}\n" for invariant in (*ALWAYS, *IN_THE_END)),
        "steps": _table(("Action", "A process is killed after"), _steps()),
        "storm": _storm(results / "reliability_faults.json"),
    }  # fmt: skip
    text = (DOCS / page).read_text()
    return _BLOCK.sub(lambda block: block[1] + parts[block[2]] + block[3], text)


def missing_tests(rows: Iterable[Row | Attack] = (*ROWS, *ATTACKS)) -> list[str]:
    """The tests that a row names and that are not there."""
    missing = []
    for name in sorted({test for row in rows for test in row.tests}):
        file, _, function = name.partition("::")
        path = TESTS / file
        defined = (
            {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
            if path.exists()
            else set()
        )
        if function not in defined:
            missing.append(name)
    return missing  # fmt: skip


def _first_line(invariant: object) -> str:
    return str(invariant.__doc__).strip().splitlines()[0]


def _tests(row: Row | Attack) -> str:
    return ", ".join(f"`{file}`" for file in dict.fromkeys(test.partition("::")[0] for test in row.tests))


def _steps() -> list[tuple[str, str]]:
    actions: dict[str, list[str]] = {}
    for step in Step:
        actions.setdefault(step.action, []).append(step.value.partition(": ")[2])
    return [(action, "; ".join(steps)) for action, steps in actions.items()]


def _storm(file: Path) -> str:
    if not file.exists():
        return "The full form has not been run yet, so no figures of it stand here.\n"
    result: dict[str, Any] = json.loads(file.read_text())
    kinds = [tuple("-" if value is None else value for value in row.values()) for row in result["table"]]
    return (
        f"{asked_for([*result['earlier'], result['seed']], len(result['outcomes']))}: {len(result['outcomes'])} faults in "
        f"{result['minutes']:.0f} minutes, {'passed' if result['passed'] else 'NOT passed'}. Rows of answered items lost: "
        f"{result['lost']}, doubled: {result['doubled']}.\n\n" + _table(tuple(result["table"][0]), kinds)
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
