"""Keeping the services' logs small while they are written.

The services append to a file that they hold open, so it is copied and cut short in its place: what is written between
the two is lost, which is a line or two in twenty megabytes.
"""

import os
import shutil
from io import BufferedWriter
from pathlib import Path

from genre_assets.disk.whole import unfinished

LIMIT = 20 * 2**20  # bytes; with the copy, twice that for each service


def append(log: Path) -> BufferedWriter:
    """Open a log to append to, readable by its owner only: it may hold what clients sent."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)  # one that an earlier version made
    return os.fdopen(descriptor, "ab")


def rotate(log: Path, limit: int = LIMIT) -> bool:
    """Move what a log holds to `<name>.log.1` if it is longer than `limit` bytes; returns whether it did."""
    try:
        if log.stat().st_size <= limit:
            return False
        with unfinished(log.with_suffix(".log.1"), mode=0o600) as copy:
            shutil.copyfile(log, copy)
        os.truncate(log, 0)
    except OSError:  # not there yet, or a full disk: the next look tries again
        return False
    return True
