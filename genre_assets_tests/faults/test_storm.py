"""The short form of the fault storm: a handful of chosen faults on the shared stack, under load (`make test-faults`: all)."""

import signal
import threading
from pathlib import Path

import pytest

from genre_assets_tests.faults.storm.kinds import COMMAND, RUN, Fault, targets
from genre_assets_tests.faults.storm.report import Outcome, Result, by_kind, markdown
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
    home = stack.settings.home
    predictor = Predictor(stack.settings.triton_grpc, stack.audio, seed=3)
    commands = Commands(PROGRAM, environment(home), folders(stack.audio, tmp_path, count=1), seed=3)
    storm = Storm(stack.settings, predictor, commands, seed=3)
    predictor.start()
    try:
        for target, number in CHOSEN:
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
    assert len(result.outcomes) == len(CHOSEN)


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
    assert Result(1, outcomes=outcomes[:2]).passed
    assert not Result(1, outcomes=outcomes).passed
    assert not Result(1, outcomes=outcomes[:2], broken=["a row is lost"]).passed
    assert "fault 3, s3 SIGSTOP: neither healed nor reported in time" in markdown(Result(1, outcomes=outcomes))
