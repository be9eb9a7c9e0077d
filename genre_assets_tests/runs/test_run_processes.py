"""Whether a run's process lives, on real processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from genre_assets.runs.run_processes import Worker, lost, resume_stopped
from genre_assets_tests.waiting import until


@pytest.fixture
def process() -> Iterator[multiprocessing.process.BaseProcess]:
    """As Dagster's code server starts the process of a run."""
    made = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    made.start()
    assert made.pid is not None
    started = psutil.Process(made.pid)
    until(lambda: "multiprocessing" in " ".join(started.cmdline()), "its own program has begun", 10)
    yield made
    made.kill()
    made.join()


def test_a_run_is_lost_when_its_process_is(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid is not None
    worker = Worker("run", process.pid, 100.0)
    assert lost([worker]) == []
    process.kill()
    until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_ZOMBIE, "killed and not yet collected", 10)
    assert lost([worker]) == [worker]
    process.join()
    assert lost([worker]) == [worker]


def test_another_program_with_the_same_id_is_no_run() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        worker = Worker("run", other.pid, 100.0)
        assert lost([worker]) == [worker]
        assert resume_stopped([worker]) == []
    finally:
        other.kill()
        other.wait()


def test_of_two_runs_with_one_process_the_older_is_lost(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid is not None
    older, newer = Worker("older", process.pid, 100.0), Worker("newer", process.pid, 200.0)
    assert lost([newer, older]) == [older]


def test_a_stopped_process_goes_on(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid is not None
    worker = Worker("run", process.pid, 100.0)
    assert resume_stopped([worker]) == []
    os.kill(worker.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, "stopped", 10)
    assert lost([worker]) == []
    assert resume_stopped([worker]) == [worker]
    until(lambda: psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED, "it goes on", 10)
