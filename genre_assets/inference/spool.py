"""Logging predictions off the request path: append to a file, ship to the database behind.

`append` is one write to the page cache: it survives SIGKILL of the process (not a power cut). A thread ships closed
segments in order and deletes each after its rows are committed. Segments of a dead process are adopted; a file lock
tells the living from the dead. The spool is bounded: the oldest segments go first, and are counted. A row that the
database cannot hold is set aside alone (`set_aside.py`); whatever happens, the thread goes on.
"""

import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.inference.request_log import COLUMNS, Row, insert
from genre_assets.inference.request_rows import Refused, parsed
from genre_assets.inference.set_aside import SetAside
from genre_assets.steps import Step, reached

log = logging.getLogger(__name__)
ROTATE_SECONDS = 0.5
ROTATE_BYTES = 4 * 2**20
LONGEST_PAUSE = 8.0
_compact = json.JSONEncoder(separators=(",", ":")).encode
SET_ASIDE_SHARE = 1 / 16  # of the spool's bound, on top of it


@dataclass(frozen=True)
class LogState:
    """What the log tells of itself. `shipped_at` is when a round last ended well, in seconds since 1970."""

    backlog: int  # bytes that are not in the database yet
    dropped: int  # rows given up
    set_aside: int  # rows that the database cannot hold
    shipped_at: float


class PredictionLog:
    """The spool of one process. Thread-safe; never raises into the request path."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        max_bytes: int,
        retention_days: int,
        tell: "Callable[[LogState], None] | None" = None,
        background: bool = True,
    ) -> None:
        """`tell` is called from the log's own thread after each round, so that its state is known without traffic.

        Without `background` there is no thread: the caller makes the rounds.
        """
        self.folder = folder
        self.database = database
        self.max_bytes = max_bytes
        self.retention_days = retention_days
        self.tell = tell
        self.dropped = 0  # rows given up: the spool was full, or could not be written
        self.set_aside = 0  # rows that the database cannot hold
        self.shipped_at = time.time()
        self.problem = ""  # what the last attempt to ship failed with
        folder.mkdir(parents=True, exist_ok=True)
        self._aside = SetAside(
            folder.with_name(f"{folder.name}_set_aside"), max(2**20, int(max_bytes * SET_ASIDE_SHARE))
        )
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = folder / "none"
        self._opened = 0.0
        self._size = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        if background:
            self._thread.start()

    def append(self, rows: Sequence[Row]) -> None:
        """Log rows. They are safe against a kill of this process when this returns."""
        data = "".join(_line(row) + "\n" for row in rows).encode()
        with self._lock:
            try:
                self._write(data)
                reached(Step.SHIP_APPEND)
            except OSError as error:  # a full disk must not stop the serving
                self.dropped += len(rows)
                self.problem = str(error)

    def backlog(self) -> int:
        """Bytes that are not in the database yet."""
        return sum(_size(path) for path in self._segments(".open", ".jsonl"))

    def state(self) -> LogState:
        """What the log tells of itself."""
        return LogState(self.backlog(), self.dropped, self.set_aside, self.shipped_at)

    def close(self) -> None:
        """Stop the thread and ship what can be shipped at once; the rest waits on disk for the next process."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.round()

    def round(self) -> bool:
        """Ship what is closed; whether it went well. What it failed with is in `problem`."""
        return self._guarded(self._round)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._path = self.folder / f"{time.time_ns():020d}-{os.getpid()}.open"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._size, self._opened = 0, time.monotonic()
        written = os.write(self._file, data)
        if written < len(data):  # a full disk: half a line would spoil the next one
            os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._size += written
        if self._size >= ROTATE_BYTES:
            self._rotate()

    def _rotate(self) -> None:
        if self._file is not None:
            self._path.rename(self._path.with_suffix(".jsonl"))
            os.close(self._file)
            self._file = None
            reached(Step.SHIP_CLOSE)

    def _run(self) -> None:
        """The thread: rounds until the end, with a growing pause after one that failed."""
        pause = ROTATE_SECONDS
        while not self._ending.wait(pause):
            shipped = self.round()
            pause = ROTATE_SECONDS if shipped else min(LONGEST_PAUSE, pause * 2)
            self._guarded(self._bound)
            if self.tell is not None:
                self._guarded(lambda tell=self.tell: tell(self.state()))  # type: ignore[misc]

    def _guarded(self, step: "Callable[[], object]") -> bool:
        """Whether the step went well. Nothing that it raises may end the thread: no log is no drift and no fallback."""
        try:
            step()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if said != self.problem:  # once, not every few seconds
                log.warning("the prediction log has a problem", exc_info=True)
            self.problem = said
            return False
        return True

    def _round(self) -> None:
        """Ship every closed segment. A segment with a problem of its own does not hold up those after it."""
        import psycopg2

        with self._lock:
            if self._file is not None and (self._ending.is_set() or time.monotonic() - self._opened >= ROTATE_SECONDS):
                self._rotate()
        self._adopt()
        problems: list[Exception] = []
        for path in self._segments(".jsonl"):
            try:
                self._ship(path)
            except (TransientFailure, psycopg2.OperationalError, psycopg2.InterfaceError):
                raise  # the database is away: so it is for every segment
            except Exception as error:  # noqa: BLE001  # the rows stay on disk
                problems.append(error)
        if problems:
            raise problems[0]
        self.problem = ""
        self.shipped_at = time.time()

    def _adopt(self) -> None:
        """Close the segments of processes that died with them open, and give those another chance that were refused."""
        for path in self._segments(".open", ".refused"):
            if path == self._path:
                continue
            with _locked(path) as mine:
                if mine:
                    path.rename(path.with_suffix(".jsonl"))

    def _ship(self, path: Path) -> None:
        with _locked(path) as mine:
            if not mine or not path.exists():
                return  # another process ships it, or has
            lines = list(parsed(path.read_bytes(), time.time(), self.retention_days))
            refused = [line for line in lines if isinstance(line, Refused)]
            refused += self._insert([line for line in lines if isinstance(line, Row)])
            reached(Step.SHIP_INSERT)
            if refused:
                log.warning("%d rows of %s are set aside; the first: %s", len(refused), path.name, refused[0].why)
                self.set_aside += self._aside.keep(path.stem, refused)
                reached(Step.SHIP_ASIDE)
            path.unlink()
            reached(Step.SHIP_DELETE)

    def _insert(self, rows: list[Row]) -> list[Refused]:
        """Insert the rows; the halves apart where the database refuses them, down to the row that it refuses alone."""
        import psycopg2

        try:
            insert(self.database, rows)
        except (psycopg2.DataError, psycopg2.IntegrityError, ValueError, TypeError, OverflowError) as error:
            if len(rows) == 1:
                return [Refused(_line(rows[0]), f"{type(error).__name__}: {str(error).strip()}")]
            half = len(rows) // 2
            return [*self._insert(rows[:half]), *self._insert(rows[half:])]
        return []

    def _bound(self) -> None:
        self.dropped += self._aside.bound()
        closed = self._segments(".jsonl")
        total = self.backlog()
        for path in closed:
            if total <= self.max_bytes:
                break
            with _locked(path) as mine:
                if mine and path.exists():
                    total -= _size(path)
                    self.dropped += path.read_bytes().count(b"\n")
                    path.unlink()

    def _segments(self, *suffixes: str) -> list[Path]:
        """The files with one of the suffixes, the oldest first."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:  # somebody has removed it: nothing waits there
            return []
        return [self.folder / name for name in sorted(names) if name.endswith(suffixes)]


def _line(row: Row) -> str:
    """A row as a segment keeps it: a list in the table's column order."""
    return _compact([getattr(row, name) for name in COLUMNS])


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
