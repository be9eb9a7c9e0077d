"""Clients' audio that is kept, as the request sees it: written by one process, decided on by another.

The extracting process has the bytes; the post-processor knows the confidence. So the first writes them to `pending/` under
a random name, which travels in the item's sealed facts, and the second moves the file to `ready/` (one rename) or removes
it. Both cost the page cache alone. From `ready/` a thread uploads (`capture_upload.py`). What a killed process or a failed
request leaves in `pending/` is removed there after a while; no half-written file can be moved, for facts are sealed after it.

What is kept was sent as bytes and answered without an error, in a request that is logged. A full or broken spool costs the
clip, not the answer, and is counted; the row of such a clip has no address.
"""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genre_assets.inference.answers import Facts

if TYPE_CHECKING:
    from genre_assets.settings import Settings

PENDING, READY = "pending", "ready"  # folders of the spool
MOST_FILES = 20_000
MEASURE_SECONDS = 1.0
ENDINGS = {"mpeg": "mp3", "matroska": "webm", "mp4": "m4a"}
"""What a decoder calls a format -> the ending of such a file, where that is another word."""


@dataclass(frozen=True)
class CaptureRules:
    """Which clips are kept: none, those of doubtful answers or all, and of those the share `rate`, by content."""

    mode: Literal["off", "doubtful", "all"]
    rate: float
    below_confidence: float

    @classmethod
    def from_settings(cls, settings: "Settings") -> "CaptureRules":
        """The rules that the settings state."""
        return cls(settings.capture, settings.capture_rate, settings.capture_below_confidence)

    def may_keep(self, fingerprint: str) -> bool:
        """Whether the clip may be kept, before its answer is known. The same content is always chosen or never."""
        return self.mode != "off" and int(fingerprint[:13], 16) / 16**13 < self.rate

    def keeps(self, confidence: float) -> bool:
        """Whether a clip that may be kept is, its answer having this confidence."""
        return self.mode == "all" or (self.mode == "doubtful" and confidence < self.below_confidence)


@dataclass(frozen=True)
class Pending:
    """Where a clip's bytes wait for their answer: a file's name, or why there is none."""

    name: str = ""
    problem: str = ""


class PendingClips:
    """An extracting process's side. Never raises into the request path."""

    def __init__(self, folder: Path, rules: CaptureRules, max_bytes: int) -> None:
        self.folder = folder
        self.rules = rules
        self.max_bytes = max_bytes
        self._held = self._files = 0
        self._measured = -MEASURE_SECONDS

    def keep_all(self, items: Sequence[bytes], facts: Sequence[Facts]) -> list[Facts]:
        """Keep the clips of a request that may be kept; the facts, which say where. Items named by an address lie elsewhere."""
        told = []
        for item, known in zip(items, facts, strict=True):
            pending = Pending() if known.code or known.address else self.keep(item, known.fingerprint)
            told.append(replace(known, pending=pending.name, not_kept=pending.problem))
        return told

    def keep(self, data: bytes, fingerprint: str) -> Pending:
        """Write the bytes of a clip, if it may be kept; they are safe against a kill of this process then."""
        if not self.rules.may_keep(fingerprint):
            return Pending()
        try:
            if not self._has_room(len(data)):
                return Pending(problem="the spool is full")
            try:
                return Pending(self._written(data))
            except FileNotFoundError:  # the first one, or somebody has removed the folder
                make_folders(self.folder)
                return Pending(self._written(data))
        except OSError as error:  # a full disk must not stop the serving
            return Pending(problem=os.strerror(error.errno or 0))

    def _written(self, data: bytes) -> str:
        name = secrets.token_hex(16)
        path = self.folder / PENDING / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        self._held += len(data)
        self._files += 1
        return name

    def _has_room(self, more: int) -> bool:
        """Whether that many bytes fit. Other processes write too, so the bound holds but for what a second brings."""
        if time.monotonic() - self._measured >= MEASURE_SECONDS:
            sizes = [size for part in (PENDING, READY) for _, size in held(self.folder / part)]
            self._held, self._files, self._measured = sum(sizes), len(sizes), time.monotonic()
        return self._held + more <= self.max_bytes and self._files < MOST_FILES


def make_folders(folder: Path) -> None:
    """Make the spool's folders, which only their owner may enter."""
    for part in (folder, folder / PENDING, folder / READY):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)


def held(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files there, in the order of their names, with their sizes in bytes."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except FileNotFoundError:  # somebody has removed it: nothing waits there
        return
    for name in names:
        with suppress(FileNotFoundError):
            yield folder / name, (folder / name).stat().st_size
