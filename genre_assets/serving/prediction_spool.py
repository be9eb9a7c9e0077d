"""Logging predictions off the request path: append to a file, ship to the database behind.

`append` is one write to the page cache: it survives SIGKILL of the process (not a power cut). A thread ships closed
segments in order and deletes each after its rows are committed. Segments of a dead process are adopted; a file lock
tells the living from the dead. The spool is bounded: the oldest segments go first, and are counted.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.serving.prediction_log import COLUMNS, Row, insert, prune

log = logging.getLogger(__name__)
ROTATE_SECONDS = 0.5
ROTATE_BYTES = 4 * 2**20
LONGEST_PAUSE = 8.0
PRUNE_SECONDS = 3600.0


class PredictionLog:
    """The spool of one process. Thread-safe; never raises into the request path."""

    def __init__(self, folder: Path, database: Database, *, max_bytes: int, retention_days: int) -> None:
        self.folder = folder
        self.database = database
        self.max_bytes = max_bytes
        self.retention_days = retention_days
        self.dropped = 0  # rows given up because the spool was full
        self.problem = ""  # what the last attempt to ship failed with
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = folder / "none"
        self._opened = 0.0
        self._size = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, rows: Sequence[Row]) -> None:
        """Log rows. They are safe against a kill of this process when this returns."""
        data = "".join(json.dumps(list(asdict(row).values()), separators=(",", ":")) + "\n" for row in rows).encode()
        with self._lock:
            try:
                self._write(data)
            except OSError as error:  # a full disk must not stop the serving
                self.dropped += len(rows)
                self.problem = str(error)

    def backlog(self) -> int:
        """Bytes that are not in the database yet."""
        return sum(_size(path) for path in self._segments("*"))

    def close(self) -> None:
        """Stop the thread and ship what can be shipped at once; the rest waits on disk for the next process."""
        self._ending.set()
        self._thread.join(10)
        with self._lock:
            self._rotate()
        self._try_to_ship()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._path = self.folder / f"{time.time_ns():020d}-{os.getpid()}.open"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._size, self._opened = 0, time.monotonic()
        os.write(self._file, data)
        self._size += len(data)
        if self._size >= ROTATE_BYTES:
            self._rotate()

    def _rotate(self) -> None:
        if self._file is not None:
            self._path.rename(self._path.with_suffix(".jsonl"))
            os.close(self._file)
            self._file = None

    def _run(self) -> None:
        pause = ROTATE_SECONDS
        pruned = -PRUNE_SECONDS
        while not self._ending.wait(pause):
            with self._lock:
                if self._file is not None and time.monotonic() - self._opened >= ROTATE_SECONDS:
                    self._rotate()
            shipped = self._try_to_ship()
            pause = ROTATE_SECONDS if shipped else min(LONGEST_PAUSE, pause * 2)
            self._bound()
            if shipped and time.monotonic() - pruned > PRUNE_SECONDS and self._try_to_prune():
                pruned = time.monotonic()

    def _try_to_ship(self) -> bool:
        import psycopg2

        try:
            self._adopt()
            for path in self._segments("*.jsonl"):
                self._ship(path)
        except (TransientFailure, psycopg2.OperationalError, psycopg2.InterfaceError, OSError) as error:
            self.problem = str(error)  # the rows stay on disk
            return False
        self.problem = ""
        return True

    def _try_to_prune(self) -> bool:
        import psycopg2

        try:
            prune(self.database, days=self.retention_days)
        except (TransientFailure, psycopg2.Error) as error:
            self.problem = str(error)
            return False
        return True

    def _adopt(self) -> None:
        """Close the segments of processes that died with them open."""
        for path in self._segments("*.open"):
            if path == self._path:
                continue
            with _locked(path) as mine:
                if mine:
                    path.rename(path.with_suffix(".jsonl"))

    def _ship(self, path: Path) -> None:
        import psycopg2

        with _locked(path) as mine:
            if not mine or not path.exists():
                return  # another process ships it, or has
            try:
                insert(self.database, list(_rows(path)))
            except (psycopg2.DataError, psycopg2.ProgrammingError) as error:
                # One segment that the database refuses must not hold up all that follow.
                log.exception("the database refuses %s", path.name)
                self.problem = str(error)
                path.rename(path.with_suffix(".refused"))
                return
            path.unlink()

    def _bound(self) -> None:
        closed = self._segments("*.jsonl")
        total = self.backlog()
        for path in closed:
            if total <= self.max_bytes:
                break
            with _locked(path) as mine:
                if mine and path.exists():
                    total -= _size(path)
                    self.dropped += path.read_bytes().count(b"\n")
                    path.unlink()

    def _segments(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern))


def _rows(path: Path) -> Iterator[Row]:
    for line in path.read_bytes().splitlines():
        try:
            yield Row(**dict(zip(COLUMNS, json.loads(line), strict=True)))
        except ValueError:  # the torn last line of a killed process: its item was not answered either
            log.warning("a torn line in %s", path.name)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether this process got the lock of the segment."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
