"""The short form of the fault storm: a handful of chosen faults on the shared stack, under load (`make test-faults`: all)."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from genre_assets.stack.supervision.run_files import state_file
from genre_assets_tests.faults.storm.kinds import COMMAND, RUN, Fault, choose, targets
from genre_assets_tests.faults.storm.report import Outcome, Result, by_kind, markdown, read, together, write
from genre_assets_tests.faults.storm.strike import Storm, folders
from genre_assets_tests.faults.storm.workload import Commands, Predictor
from genre_assets_tests.faults.test_killed_services import all_healthy
from genre_assets_tests.live import COMMAND as PROGRAM
from genre_assets_tests.live import Stack, environment
from genre_assets_tests.waiting import until

CHOSEN = (
    (RUN, signal.SIGKILL),
    ("triton: predictor", signal.SIGKILL),
    (COMMAND, signal.SIGKILL),
    ("postgres", signal.SIGKILL),
    ("dagster-daemon", signal.SIGSTOP),
)


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_apart(stack: Stack, tmp_path: Path) -> None:
    until(lambda: all_healthy(stack), "every light is healthy", 120)
    chosen = CHOSEN[:: 4 if os.environ.get("CI") else 1]
    home = stack.settings.home
    predictor = Predictor(stack.settings.triton_grpc, stack.audio, seed=3)
    commands = Commands(PROGRAM, environment(home), folders(stack.audio, tmp_path, count=1), seed=3)
    storm = Storm(stack.settings, predictor, commands, seed=3)
    predictor.start()
    try:
        for target, number in chosen:
            promotion = threading.Thread(target=commands.command, args=("promote", "fallback", "--reason", "storm"))
            if target in {RUN, COMMAND}:
                promotion.start()
            fault = _fault(stack, commands, target, number)
            assert storm.strike(fault) is not None, f"{fault.kind} had ended"
            if target in {RUN, COMMAND}:
                promotion.join(200)
    finally:
        result = storm.calm()
    print(markdown(result))
    assert result.passed, markdown(result)
    assert result.answered > 0
    assert len(result.outcomes) == len(chosen)


def _fault(stack: Stack, commands: Commands, target: str, number: signal.Signals) -> Fault:
    """The first process that is such a target, waited for."""
    found: list[Fault] = []

    def there() -> bool:
        found.extend(Fault(t, number, p) for t, p in targets(stack.settings.home, commands.pid) if t == target)
        return bool(found)

    until(there, f"a {target} to strike", 90)
    return found[0]


def test_the_table_counts_by_kind_and_says_what_did_not_hold() -> None:
    outcomes = [
        Outcome(1, "s3 SIGKILL", 4.0, "", True, 1),
        Outcome(2, "s3 SIGKILL", 8.0, "s3 unhealthy", True, 2),
        Outcome(3, "s3 SIGSTOP", None, "", False, 0),
    ]
    killed, stopped = by_kind(outcomes)
    assert killed["median s"] == 6.0
    assert (killed["times"], killed["healed"], killed["reported"], killed["requests failed"]) == (2, 2, 1, 3)
    assert (stopped["healed"], stopped["worst s"]) == (0, None)
    assert Result(1, outcomes=outcomes[:2], finished=True).passed
    interrupted = Result(1, outcomes=outcomes[:2])
    assert not interrupted.passed
    assert "NOT finished" in markdown(interrupted)
    assert "lost unknown (not asked yet), doubled unknown (not asked yet)" in markdown(interrupted)
    assert not Result(1, outcomes=outcomes, finished=True).passed
    assert not Result(1, outcomes=outcomes[:2], broken=["a row is lost"], finished=True).passed
    assert "fault 3, s3 SIGSTOP: neither healed nor reported in time" in markdown(Result(1, outcomes=outcomes))


def test_storms_are_added_up_and_one_that_failed_is_not_forgotten(tmp_path: Path) -> None:
    def storm(seed: int, **facts: Any) -> Result:
        outcomes = [Outcome(1, "s3 SIGKILL", 4.0 * seed, "", True, seed)]
        return Result(
            seed, minutes=3, outcomes=outcomes, **{"answered": 5, "lost": 0, "doubled": 0, "finished": True, **facts}
        )

    write(together(storm(1), storm(2)), tmp_path / "faults")
    both = read(tmp_path / "faults")
    assert both is not None
    assert (both.passed, both.answered, [one.number for one in both.outcomes]) == (True, 10, [1, 2])
    assert "`make test-faults ADD=1`, 2 times (seeds 1, 2): 2 faults, 6 minutes, passed" in markdown(both)
    assert read(tmp_path / "nothing") is None
    worse = together(together(storm(1), storm(2, lost=3, broken=["rows are lost"])), storm(3))
    assert (worse.passed, worse.lost, worse.broken) == (False, 3, ["rows are lost"])
    assert together(storm(1), storm(2, lost=None, finished=False)).lost is None


def test_faults_strike_the_services_of_the_state_file_what_is_behind_them_and_the_command(tmp_path: Path) -> None:
    """Real processes: a parent with a child, a command; each is drawn, stopped, let go on, killed."""
    sleep = "import time; time.sleep(100)"
    parent_code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}, 'api grpc'])"
    with (
        subprocess.Popen([sys.executable, "-c", parent_code]) as parent,
        subprocess.Popen([sys.executable, "-c", sleep]) as command,
    ):
        state_file(tmp_path).parent.mkdir()
        state_file(tmp_path).write_text(json.dumps({"services": {"code": {"pid": parent.pid}, "s3": {"pid": None}}}))
        try:
            expected = {"code", "code: code server", COMMAND}
            until(lambda: {name for name, _ in targets(tmp_path, command.pid)} == expected, "all are targets", 20)
            drawn = [choose(tmp_path, command.pid, random.Random(seed)) for seed in range(40)]
            assert {fault.target for fault in drawn} == expected
            assert [f.kind for f in drawn] == [choose(tmp_path, command.pid, random.Random(n)).kind for n in range(40)]
            found = dict(targets(tmp_path, command.pid))
            stopped = Fault("code", signal.SIGSTOP, found["code"])
            assert stopped.strike()
            until(lambda: stopped.lasts, "it is stopped", 10)
            stopped.lift()
            until(lambda: not stopped.lasts, "it goes on", 10)
            for target, process in found.items():
                killed = Fault(target, signal.SIGKILL, process)
                assert killed.strike()
                until(lambda killed=killed: not killed.lasts, "it is gone", 10)  # type: ignore[misc]
        finally:
            parent.kill()
            command.kill()
