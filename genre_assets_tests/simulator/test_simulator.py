"""The control loop under thousands of schedules; and proof that the simulator finds faults that are put in."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genre_assets import audit
from genre_assets.serving.rollout import reconciliation
from genre_assets_tests.simulator.invariants import ALWAYS, IN_THE_END
from genre_assets_tests.simulator.schedule import Violated, simulator

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 5_000  # of half a minute or so, since the whole suite has 50; `make test-simulator` runs 100,000


@pytest.mark.timeout(1800)
def test_no_schedule_violates_an_invariant() -> None:
    command = [sys.executable, "-m", "genre_assets_tests.simulator", "--schedules", str(SCHEDULES)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    done = re.match(r"(\d+) schedules .*, (\d+) moves", ended.stdout)
    assert done is not None
    assert (int(done[1]), int(done[2]) > SCHEDULES / 3) == (SCHEDULES, True)


def test_a_seed_replays_to_the_same_end() -> None:
    with simulator() as made:
        ends = [json.dumps(made.run(11).trace, default=str) for _ in range(2)]
    assert ends[0] == ends[1]


def found_within(schedules: int) -> str:
    """The first violation, or nothing."""
    with simulator() as made:
        for seed in range(1, schedules + 1):
            try:
                made.run(seed)
            except Violated as error:
                return str(error)
    return ""


@pytest.mark.parametrize(
    ("where", "name", "broken", "finds"),
    [
        (audit, "record", lambda *_, **__: None, "every_booked_move_is_audited_once"),
        (reconciliation, "difference", lambda _: None, "books_files_and_server_agree"),
    ],
)
def test_a_fault_that_is_put_in_is_found(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, broken: Callable[..., Any], finds: str
) -> None:
    monkeypatch.setattr(where, name, broken)
    assert finds in found_within(600)


def test_every_invariant_says_in_one_line_what_holds_and_stands_in_the_docs() -> None:
    documented = (ROOT / "docs" / "reliability.md").read_text()
    for invariant in (*ALWAYS, *IN_THE_END):
        first = str(invariant.__doc__).strip().splitlines()[0]
        assert first.endswith(".")
        assert first in documented, f"docs/reliability.md lacks: {first}"
