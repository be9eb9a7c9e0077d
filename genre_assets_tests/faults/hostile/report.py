"""The page of a campaign: what was sent, how it was answered, and what it did to others."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from genre_assets_tests.faults.hostile.campaign import Result

MOST = 3.0  # the honest client's p99 may grow so much
SHOWN = 5  # answers of a kind


def passed(result: Result) -> bool:
    """Whether everything held that must."""
    return result.held and result.ratio <= MOST


def markdown(result: Result) -> str:
    """The page that is stored."""
    verdict = "passed" if passed(result) else "NOT passed"
    lines = [
        "# Hostile input through the server",
        "",
        f"`make test-hostile ITEMS={result.items} SEED={result.seed}`: {result.seconds / 60:.1f} minutes, {verdict}.",
        "",
        "| | found | allowed |",
        "|---|---|---|",
        f"| Hostile items and requests sent | {result.items} | |",
        f"| Deaths of the server or its door | {len(result.deaths)} | 0 |",
        f"| Honest items asked meanwhile, of which harmed | {result.honest}, {len(result.harmed)} | 0 harmed |",
        f"| Rows of honest items missing in the log | {result.rows_missing} | 0 |",
        f"| Hostile requests without any answer | {result.unanswered} | 0 |",
        f"| Honest client's p99 meanwhile / in quiet | {result.ratio:.2f} | {MOST:g} |",
        f"| Its p50 and p99 in quiet | {result.quiet_p50 * 1e3:.1f}, {result.quiet_p99 * 1e3:.1f} ms | |",
        f"| Its p50 and p99 meanwhile | {result.hostile_p50 * 1e3:.1f}, {result.hostile_p99 * 1e3:.1f} ms | |",
        "",
        "Honest items are those of a client that asks by both transports without ever asking twice, and one in each request of",
        "hostile items. `closed` is a connection that the server ended, `left half-way` one that the sender did.",
        "",
        "| what was sent | times | answers |",
        "|---|---|---|",
    ]
    for kind, counts in result.outcomes.items():
        shown = ", ".join(f"{answer} {times}" for answer, times in counts.most_common(SHOWN))
        more = "" if len(counts) <= SHOWN else ", ..."
        lines.append(f"| {kind} | {sum(counts.values())} | {shown}{more} |")
    if bad := [*result.deaths, *result.harmed]:
        lines += ["", "## What did not hold", "", *(f"- {text}" for text in bad[:50])]
    return "\n".join(lines) + "\n"


def write(result: Result, target: Path) -> None:
    """Store `target`.json and `target`.md."""
    plain = replace(result, outcomes={})  # `asdict` does not know counters
    outcomes = {kind: dict(counts.most_common()) for kind, counts in result.outcomes.items()}
    content = {**asdict(plain), "ratio": result.ratio, "passed": passed(result), "outcomes": outcomes}
    target.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(result))
