"""Clients' audio that is kept: the post-processor's side, which decides, and the thread that uploads what it decided for.

A clip's key is its day and the hash of its content, so uploading twice (after a kill in between, by two processes, of a
clip that came twice) gives the same object. While S3 is away clips wait, with a growing pause between trials; the spool
is bounded where it is filled (`capture.py`).
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.inference.answers import Answer, Facts
from genre_assets.inference.capture import ENDINGS, PENDING, READY, CaptureRules, held, make_folders
from genre_assets.inference.seal import LONGEST_SECONDS

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)
ROUND_SECONDS = 0.5
LONGEST_PAUSE = 8.0
TOLD_SECONDS = 60.0  # between two messages of losses
PENDING_SECONDS = 2 * LONGEST_SECONDS  # after which no request can still ask for a pending clip


@dataclass(frozen=True)
class CaptureState:
    """What the capture tells of itself."""

    backlog: int  # bytes that are not in the bucket yet
    stored: int  # clips that are
    dropped: int  # clips that were to be kept and are not: the spool was full, or could not be written or read


class ClientsAudio:
    """The clips of one post-processor. Thread-safe; never raises into the request path."""

    def __init__(
        self,
        folder: Path,
        rules: CaptureRules,
        bucket: str,
        connect: "Callable[[], S3Client]",
        *,
        tell: Callable[[CaptureState], None] | None = None,
    ) -> None:
        """`connect` makes the S3 client at the first clip; `tell` is called from the thread after each round.

        With mode `off` there is a thread only if there is a spool: clips of before are uploaded.
        """
        self.folder = folder
        self.rules = rules
        self.bucket = bucket
        self.tell = tell
        self.stored = self.dropped = 0
        self.problem = ""  # what the last round failed with
        self._lost = ""  # why the last clip was not kept
        self._told, self._told_at = 0, -TOLD_SECONDS
        self._connect = connect
        self._conditional = True
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients-audio", daemon=True)
        if rules.mode != "off" or folder.is_dir():
            self._thread.start()

    def decide(self, facts: Facts, given: Answer) -> str:
        """Keep the item's clip or remove it; the address that it will have, or nothing."""
        if not facts.pending and not facts.not_kept:
            return ""
        pending = self.folder / PENDING / facts.pending
        try:
            if given.code or not self.rules.keeps(given.confidence):
                if facts.pending:
                    pending.unlink(missing_ok=True)
                return ""
            if facts.not_kept:
                raise OSError(facts.not_kept)
            key = keys.clients_audio(
                f"{datetime.now(UTC):%Y-%m-%d}", facts.fingerprint, ENDINGS.get(facts.format, facts.format)
            )
            pending.rename(self.folder / READY / key.replace("/", "_"))
        except OSError as error:
            self.dropped += 1
            self._lost = str(error)
            return ""
        return f"s3://{self.bucket}/{key}"

    def state(self) -> CaptureState:
        """What it tells of itself."""
        return CaptureState(sum(size for _, size in held(self.folder / READY)), self.stored, self.dropped)

    def close(self) -> None:
        """Stop the thread; what waits is for the next process."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        """The thread: rounds until the end, with a growing pause after one that failed."""
        pause = ROUND_SECONDS
        while not self._ending.wait(pause):
            pause = ROUND_SECONDS if self._guarded(self._round) else min(LONGEST_PAUSE, pause * 2)
            self._tell_losses()
            if self.tell is not None:
                self._guarded(lambda tell=self.tell: tell(self.state()))  # type: ignore[misc]

    def _guarded(self, step: Callable[[], object]) -> bool:
        """Whether the step went well. Nothing that it raises may end the thread."""
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self._say(f"{type(error).__name__}: {error}")
            return False
        return True

    def _tell_losses(self) -> None:
        if self.dropped > self._told and time.monotonic() - self._told_at > TOLD_SECONDS:
            log.warning("%d clips of clients could not be kept; the last: %s", self.dropped - self._told, self._lost)
            self._told, self._told_at = self.dropped, time.monotonic()

    def _say(self, problem: str) -> None:
        if problem != self.problem:  # once, not every few seconds
            log.warning("clients' audio has a problem: %s", problem)
        self.problem = problem

    def _round(self) -> None:
        """Upload what is ready. A clip with a problem of its own does not hold up those after it."""
        from botocore.exceptions import ClientError

        make_folders(self.folder)
        self._sweep()
        problems: list[ClientError] = []
        for path, _ in held(self.folder / READY):
            if self._ending.is_set():
                return
            try:
                self._upload(path)
            except ClientError as error:
                if _status(error) not in {400, 411, 413}:
                    raise  # so it is for every clip
                problems.append(error)
        if problems:
            raise problems[0]
        self.problem = ""

    def _sweep(self) -> None:
        for path, _ in held(self.folder / PENDING):
            with suppress(FileNotFoundError):
                if abs(time.time() - path.stat().st_mtime) > PENDING_SECONDS:
                    path.unlink()

    def _upload(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # another process has uploaded it
        key = path.name.replace("_", "/")
        if keys.captured_as(key) != hashlib.sha256(data).hexdigest():
            self.dropped += 1
            self._lost = f"{path} is not what its name says (a power cut?)"
        elif self._put(key, data):
            self.stored += 1
        path.unlink(missing_ok=True)

    def _put(self, key: str, data: bytes) -> bool:
        """Store the object unless it is there; whether it was not."""
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _status(error) not in {403, 404}:  # 403: not there, said to one who may not list the bucket
                raise
        else:
            return False
        try:
            if self._conditional:  # some servers take no heed of it: then the same content is written twice
                self._client.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
                return True
        except ClientError as error:
            if _status(error) == 412:
                return False
            if _status(error) != 501:
                raise
            self._conditional = False
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return True

    @cached_property
    def _client(self) -> "S3Client":
        return self._connect()


def _status(error: "ClientError") -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
