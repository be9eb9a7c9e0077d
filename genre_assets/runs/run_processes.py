"""Does a run's process live? Asked of the operating system, where the run was started."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Worker:
    """The process that a run says it has. `started_at` is in seconds since 1970."""

    run_id: str
    pid: int
    started_at: float


def lost(workers: Sequence[Worker]) -> list[Worker]:
    """Those whose process is gone. Of two runs with one process id the older is: ids are used again after a restart."""
    newest: dict[int, Worker] = {}
    for worker in workers:
        newest[worker.pid] = max(newest.get(worker.pid, worker), worker, key=lambda w: w.started_at)
    return [w for w in workers if newest[w.pid] is not w or not _lives(w.pid)]


def resume_stopped(workers: Sequence[Worker]) -> list[Worker]:
    """Let go on those that something stopped (SIGSTOP): nobody else would, and their runs would hang for ever."""
    resumed = []
    for worker in workers:
        process = _process(worker.pid)
        try:
            if process is not None and process.status() == psutil.STATUS_STOPPED:
                process.send_signal(signal.SIGCONT)
                resumed.append(worker)
        except psutil.Error:
            continue  # it has just ended
    return resumed


def _lives(pid: int) -> bool:
    return _process(pid) is not None


def _process(pid: int) -> psutil.Process | None:
    """The living process of that id, if it is one that Dagster's code server started for a run."""
    try:
        process = psutil.Process(pid)
        started_for_a_run = "multiprocessing" in " ".join(process.cmdline())
        return process if started_for_a_run and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
