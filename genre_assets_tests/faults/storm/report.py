"""The table of a storm: one row for each kind of fault, and what was lost."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One fault. `seconds` until it was healed, None if it was not; `failed` requests had no answer meanwhile."""

    number: int
    kind: str
    seconds: float | None
    reported: str  # what `status` or the alerts named while it lasted; "" if nothing
    in_time: bool  # healed or reported within the time that is allowed
    failed: int


@dataclass
class Result:
    """A whole storm, or several, each on a stack of its own. `broken` names every invariant that did not hold, and where."""

    seed: int
    minutes: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    failed: int = 0
    lost: int | None = None  # None until the log has been asked
    doubled: int | None = None
    commands: int = 0
    commands_struck: int = 0
    longest_run_without_process: float = 0.0
    finished: bool = False  # every invariant was asked, after the last fault too
    broken: list[str] = field(default_factory=list)
    earlier: list[int] = field(default_factory=list)  # seeds of the storms before this one that are counted in

    @property
    def passed(self) -> bool:
        """Whether the storm went to its end, every fault was healed or reported in time and every invariant held."""
        return (
            self.finished
            and bool(self.outcomes)
            and not self.broken
            and all(outcome.in_time for outcome in self.outcomes)
        )


def together(before: Result, after: Result) -> Result:
    """Two storms as one: faults and counts in sum, the worst of what is no sum."""
    shift = len(before.outcomes)
    summed = ("minutes", "answered", "refused", "failed", "commands", "commands_struck")
    return Result(
        seed=after.seed,
        **{name: getattr(before, name) + getattr(after, name) for name in summed},
        outcomes=[*before.outcomes, *(replace(one, number=one.number + shift) for one in after.outcomes)],
        lost=None if None in {before.lost, after.lost} else (before.lost or 0) + (after.lost or 0),
        doubled=None if None in {before.doubled, after.doubled} else (before.doubled or 0) + (after.doubled or 0),
        longest_run_without_process=max(before.longest_run_without_process, after.longest_run_without_process),
        finished=before.finished and after.finished,
        broken=[*before.broken, *after.broken],
        earlier=[*before.earlier, before.seed],
    )


def read(target: Path) -> Result | None:
    """What `write` stored; None if there is nothing."""
    file = target.with_suffix(".json")
    if not file.exists():
        return None
    content = json.loads(file.read_text())
    content["outcomes"] = [Outcome(**outcome) for outcome in content["outcomes"]]
    return Result(**{name: value for name, value in content.items() if name not in {"passed", "table"}})


def asked_for(seeds: Sequence[int], faults: int) -> str:
    """The commands that give these faults again."""
    if len(seeds) == 1:
        return f"`make test-faults KILLS={faults} SEED={seeds[0]}`"
    return f"`make test-faults ADD=1`, {len(seeds)} times (seeds {', '.join(map(str, seeds))})"


def by_kind(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row for each kind: times, healed, reported, median and worst seconds, requests failed."""
    rows = []
    for kind in sorted({outcome.kind for outcome in outcomes}):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        seconds = [outcome.seconds for outcome in of_kind if outcome.seconds is not None]
        rows.append(
            {
                "fault": kind,
                "times": len(of_kind),
                "healed": len(seconds),
                "reported": sum(bool(outcome.reported) for outcome in of_kind),
                "median s": round(statistics.median(seconds), 1) if seconds else None,
                "worst s": round(max(seconds), 1) if seconds else None,
                "requests failed": sum(outcome.failed for outcome in of_kind),
            }
        )
    return rows


def markdown(result: Result) -> str:
    """The page that is stored."""
    table = by_kind(result.outcomes)
    seeds = [*result.earlier, result.seed]
    head = f"{asked_for(seeds, len(result.outcomes))}: {len(result.outcomes)} faults, {result.minutes:.0f} minutes"
    asked = f"{result.answered} answered, {result.refused} answered with an error of the item"
    verdict = "passed" if result.passed else "NOT passed" if result.finished else "NOT finished"
    rows = [
        f"{count} {what}" if count is not None else f"{what} unknown (not asked yet)"
        for count, what in ((result.lost, "lost"), (result.doubled, "doubled"))
    ]
    lines = [
        "# Faults: a running stack under random SIGKILL and SIGSTOP",
        "",
        f"{head}, {verdict}.",
        "",
        f"- Requests: {asked}, {result.failed} without an answer.",
        f"- Rows of answered items: {', '.join(rows)}.",
        f"- Commands: {result.commands} run, of which {result.commands_struck} ended with an error or by a signal.",
        f"- Longest time of a run in progress without a process: {result.longest_run_without_process:.0f} s.",
        "",
    ]
    if table:
        lines += ["| " + " | ".join(table[0]) + " |", "|" + " --- |" * len(table[0])]
        lines += [
            "| " + " | ".join("-" if cell is None else str(cell) for cell in row.values()) + " |" for row in table
        ]
    late = [
        f"fault {o.number}, {o.kind}: neither healed nor reported in time" for o in result.outcomes if not o.in_time
    ]
    if result.broken or late:
        lines += ["", "## What did not hold", "", *(f"- {text}" for text in [*result.broken, *late])]
    return "\n".join(lines) + "\n"


def write(result: Result, target: Path) -> None:
    """Store `target`.json and `target`.md, anew after each fault: an interrupted storm leaves what it saw."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {**asdict(result), "passed": result.passed, "table": by_kind(result.outcomes)}
    target.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(result))
