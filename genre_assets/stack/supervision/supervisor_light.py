"""Whether the supervisor does its work: it says when it looked last, for nobody else looks after it."""

import os
import signal
import time
from pathlib import Path

from genre_assets.processes import stopped_members
from genre_assets.stack.supervision.run_files import supervisor_pid, written_state
from genre_assets.stack.supervision.service import Health

SUPERVISOR = "supervisor"
SILENT_SECONDS = 20.0  # it looks twice a second
WAKING_SECONDS = 10.0  # for a supervisor that was stopped, or on a machine that was suspended, to look again


def health(home: Path) -> Health:
    """Of the supervisor that runs in `home`. Raises `BadInput` if the folder is another user's."""
    pid = supervisor_pid(home)
    if pid is None:
        return Health(False, "no supervisor runs: genre-assets up")
    if pid in stopped_members(pid):
        return Health(False, f"process {pid} is stopped (SIGSTOP), nothing is restarted: genre-assets up")
    silent = time.time() - float(written_state(home).get("looked_at") or 0.0)
    if silent > SILENT_SECONDS:
        since = f"for {silent:.0f} s" if silent < 1e8 else "yet"
        return Health(False, f"it has looked at no service {since}; if it stays so: genre-assets up", known=False)
    return Health(True)


def wake(home: Path) -> bool:
    """Let a stopped supervisor go on; whether it looks after its services, or takes too long to."""
    pid = supervisor_pid(home)
    if pid is None:
        return False
    os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + WAKING_SECONDS
    while not (well := health(home).healthy) and time.monotonic() < end:
        time.sleep(0.2)
    return well
