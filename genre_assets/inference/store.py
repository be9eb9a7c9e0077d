"""Objects of the store within deadlines: a store that hangs costs the items that name its keys, and nobody else.

A process answers one request at a time, so whoever waits for the store keeps others waiting. Hence: a fetch runs in a
thread of its own, which its waiter leaves after a while; of several processes one never waits for long; and after a
timeout nobody waits at all until a trial in the background has had an answer.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.errors import GenreError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

CHUNK = 256 * 1024
MOST_THREADS = 16  # left behind by their waiters; each ends by the client's own timeouts


class StoreError(GenreError):
    """The object store does not answer, or not as it should."""


class StoreTimeout(StoreError):
    """It hangs."""


class StoreRefusal(StoreError):
    """It answers, and says no: not allowed, no such request."""


class ObjectTooLarge(GenreError):
    """The object has `size` bytes or more."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


@dataclass(frozen=True)
class Patience:
    """How long a waiter waits, in seconds."""

    total: float = 5.0
    stalled: float = 2.0  # without a byte
    stalled_beside: float = 0.5  # without a byte, while other processes wait already
    between_trials: float = 1.0


@dataclass
class _Fetch:
    """One object on its way."""

    progress: float
    done: threading.Event = field(default_factory=threading.Event)
    left: bool = False  # nobody waits any more
    data: bytes = b""
    error: Exception | None = None


class Places:
    """Of the processes that share `folder`, at most `count` may wait for long at the same time."""

    def __init__(self, folder: Path | None = None, count: int = 1) -> None:
        self.folder, self.count = folder, count

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Hold a place until the end of the block, if there is one; without a folder there always is."""
        if self.folder is None:
            yield True
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.count):
            descriptor = os.open(self.folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if _locked(descriptor):
                    yield True
                    return
            finally:
                os.close(descriptor)  # the lock goes with it
        yield False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Breaker:
    """Open after a timeout, or two failures in a row; closed by a trial in the background that is answered."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._failures = 0
        self._lock = threading.Lock()
        self.open = False

    def fine(self) -> None:
        """The store answered."""
        with self._lock:
            self._failures = 0

    def failed(self, trial: Callable[[], bool], *, timeout: bool) -> None:
        """The store did not; `trial` asks it something small and says whether it answered."""
        with self._lock:
            self._failures += 1
            if self.open or not (timeout or self._failures >= 2):
                return
            self.open = True
        threading.Thread(target=self._try, args=(trial,), name="store-trial", daemon=True).start()

    def _try(self, trial: Callable[[], bool]) -> None:
        while True:
            time.sleep(self._pause)
            with suppress(Exception):  # whatever it is, the store does not answer
                if trial():
                    break
        with self._lock:
            self.open, self._failures = False, 0


class StoreReader:
    """Fetches objects. `connect` makes the S3 client (short timeouts, no retries), at the first object."""

    def __init__(self, connect: "Callable[[], S3Client]", places: Places, patience: Patience) -> None:
        self._client = cache(connect)
        self._places = places
        self._patience = patience
        self._threads = threading.BoundedSemaphore(MOST_THREADS)
        self._breaker = Breaker(patience.between_trials)

    def fetch(self, bucket: str, key: str, most: int) -> bytes:
        """The object's bytes.

        Raises `FileNotFoundError`, `ObjectTooLarge` above `most` bytes, `StoreError` if the store fails or hangs.
        """
        if self._breaker.open:
            raise StoreError("the object store did not answer a moment ago; it is being tried in the background")
        client = self._client()
        try:
            data = self._waited(client, bucket, key, most)
        except (FileNotFoundError, ObjectTooLarge, StoreRefusal):
            self._breaker.fine()
            raise
        except StoreError as error:
            self._breaker.failed(lambda: _answers(client, bucket), timeout=isinstance(error, StoreTimeout))
            raise
        self._breaker.fine()
        return data

    def _waited(self, client: "S3Client", bucket: str, key: str, most: int) -> bytes:
        if not self._threads.acquire(blocking=False):
            raise StoreTimeout("the object store hangs")
        began = time.monotonic()
        fetch = _Fetch(began)
        work = threading.Thread(target=self._run, args=(fetch, client, bucket, key, most), name="store", daemon=True)
        work.start()
        with self._places.one() as patient:
            longest = self._patience.stalled if patient else self._patience.stalled_beside
            while not fetch.done.is_set():
                left = min(fetch.progress + longest, began + self._patience.total) - time.monotonic()
                if left <= 0:
                    fetch.left = True
                    # Whoever left early knows less: it takes two of them to open the breaker.
                    kind = StoreTimeout if patient else StoreError
                    raise kind(f"the object store did not answer within {time.monotonic() - began:.1f} s")
                fetch.done.wait(left)
        if fetch.error is not None:
            raise fetch.error
        return fetch.data

    def _run(self, fetch: _Fetch, client: "S3Client", bucket: str, key: str, most: int) -> None:
        try:
            fetch.data = _read(fetch, client, bucket, key, most)
        except Exception as error:  # noqa: BLE001  # raised again where somebody waits
            fetch.error = error
        finally:
            self._threads.release()
            fetch.done.set()


def _read(fetch: _Fetch, client: "S3Client", bucket: str, key: str, most: int) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        fetch.progress = time.monotonic()
        body, chunks, have, size = answer["Body"], [], 0, answer["ContentLength"]
        try:
            while size <= most and not fetch.left and (chunk := body.read(CHUNK)):
                fetch.progress = time.monotonic()
                chunks.append(chunk)
                have += len(chunk)
                size = max(size, have)
        finally:
            body.close()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}:
            raise FileNotFoundError(f"s3://{bucket}/{key}") from error
        kind = StoreRefusal if _status(error) < 500 else StoreError
        raise kind(f"the object store answered {code}") from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise StoreTimeout(f"the object store does not answer ({type(error).__name__})") from error
    except BotoCoreError as error:
        raise StoreError(f"the object store does not answer ({type(error).__name__})") from error
    if size > most:
        raise ObjectTooLarge(size)
    return b"".join(chunks)


def _answers(client: "S3Client", bucket: str) -> bool:
    """Whether the store says anything that is no excuse."""
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        return _status(error) < 500
    return True


def _status(error: "ClientError") -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
