"""Ending processes so that none is left: a service's whole session, and orphan processes of a killed supervisor."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

# Every process of a stack carries this variable with the stack's folder as its value.
MARKER = "GENRE_STACK"


def dies_with_parent() -> list[str]:
    """Prefix of a command that makes the kernel stop the process when the one that started it is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def end_session(process: "subprocess.Popen[bytes]", stop_signal: signal.Signals, timeout: float) -> None:
    """Stop the process with its signal, then kill whatever of its session still runs."""
    members = session_members(process.pid)
    if process.poll() is None:
        process.send_signal(stop_signal)
        for pid in stopped_members(process.pid):
            os.kill(pid, signal.SIGCONT)  # a stopped process takes no other signal
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    kill([*members, *session_members(process.pid)])


def session_members(leader: int) -> list[psutil.Process]:
    """Every process of the session that `leader` leads, and every descendant that left for a session of its own."""
    try:
        found = {process.pid: process for process in psutil.Process(leader).children(recursive=True)}
    except psutil.NoSuchProcess:
        found = {}
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.pid != leader:
                found[process.pid] = process
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return list(found.values())


def children(parent: int) -> Iterator[tuple[int, str, str]]:
    """(process id, state letter, command line) of every child of any thread of `parent`."""
    try:
        threads = list(Path(f"/proc/{parent}/task").iterdir())
    except OSError:
        return  # the server has just ended
    for thread in threads:
        try:
            pids = (thread / "children").read_text().split()
        except OSError:
            continue  # the thread has just ended
        for pid in pids:
            process = Path(f"/proc/{pid}")
            try:
                state = process.joinpath("stat").read_text().rpartition(")")[2].split()[0]
                arguments = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # the child has just been reaped
            yield int(pid), state, arguments


def descendants(parent: int) -> Iterator[tuple[int, str, str]]:
    """The same of its children's children too. Read from the kernel's own lists: cheap enough for every second."""
    for child in children(parent):
        yield child
        yield from descendants(child[0])


def stopped_members(leader: int) -> list[int]:
    """Process ids of the leader and its descendants that something has stopped (SIGSTOP)."""
    try:
        own = Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return []
    return [pid for pid, state, _ in [(leader, own, ""), *descendants(leader)] if state == "T"]


def orphan_processes(home: Path) -> list[psutil.Process]:
    """Processes of the stack in `home` that still run, this one and its parents left out."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(MARKER) == str(home):
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    return [*found.values(), *_postgres(home)]


def _postgres(home: Path) -> list[psutil.Process]:
    """PostgreSQL writes its title over its environment, but leaves its process id in the data folder."""
    try:
        pid = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        if str(home / "postgres") in " ".join(process.cmdline()):
            return [process, *process.children(recursive=True)]
    except (OSError, ValueError, IndexError, psutil.Error):
        return []
    return []


def kill(processes: list[psutil.Process], patience: float = 3.0, until_dead: float = 15.0) -> None:
    """SIGTERM, a little patience, SIGKILL; processes that are gone already are fine.

    A killed one has its ports until the kernel has taken its memory apart: for Triton on a busy machine, seconds.
    """
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, until_dead)):
        living = [process for process in processes if not _gone(process)]
        for process in living:
            _signal(process, number)
        end = time.monotonic() + wait
        while time.monotonic() < end and not all(map(_gone, living)):
            time.sleep(0.02)


def _gone(process: psutil.Process) -> bool:
    """Whether it has ended; a zombie has, though its parent did not collect it (in containers often nobody does).

    Of a process with many threads the first one can be a zombie while others still die: until then it has its ports.
    """
    try:
        if not process.is_running():
            return True
        return process.status() == psutil.STATUS_ZOMBIE and len(process.threads()) <= 1
    except psutil.NoSuchProcess:
        return True


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


def wait_until_gone(pid: int, timeout: float) -> bool:
    """Whether the process is gone within `timeout` seconds."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return True
    end = time.monotonic() + timeout
    while time.monotonic() < end and not _gone(process):
        time.sleep(0.1)
    return _gone(process)
