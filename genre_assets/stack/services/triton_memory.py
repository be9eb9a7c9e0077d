"""Giving back what a large request took: python stubs keep their shared memory at its largest for ever.

A model that is loaded again gets new stubs. The old ones finish what they were given and end, so no request is lost.
Where large requests are usual this would be done again and again, so the pauses between two times grow then.
"""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from genre_assets.errors import GenreError
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.processes import children
from genre_assets.stack.services.triton_watchdog import load_anew, model_of
from genre_assets.triton.control import TritonControl
from genre_assets.triton.leftovers import SHARED_MEMORY

KEPT_BYTES = 32 * 2**20  # of one stub; they begin with 1 MB
QUIET_SECONDS = 5.0  # without growth: more of the same is often on its way
PAUSE_SECONDS = 30.0
LONGEST_PAUSE = 900.0


@dataclass
class _Use:
    """What a model's largest stub holds, and when it may be replaced."""

    size: int = 0
    since: float = 0.0
    lean_since: float | None = None
    not_before: float = 0.0
    pause: float = PAUSE_SECONDS


@dataclass
class Recycler:
    """Watches the stubs of one server, whose files in /dev/shm begin with `prefix`; call `look` about once a second."""

    repository: Path
    control: TritonControl
    prefix: str
    _uses: dict[str, _Use] = field(default_factory=dict)

    def look(self, server: int, now: float | None = None) -> list[str]:
        """Load every model again that holds much more than it needs; returns their names."""
        now = time.monotonic() if now is None else now
        recycled = []
        for model, size in self._sizes(server).items():
            use = self._uses.setdefault(model, _Use())
            if self._is_due(use, size, now) and self._replace(model):
                recycled.append(model)
                use.not_before = now + use.pause
                use.pause = min(2 * use.pause, LONGEST_PAUSE)
        return recycled

    def _is_due(self, use: _Use, size: int, now: float) -> bool:
        if size != use.size:
            use.size, use.since = size, now
        if size <= KEPT_BYTES:
            use.lean_since = now if use.lean_since is None else use.lean_since
            if now - use.lean_since >= PAUSE_SECONDS:
                use.pause = PAUSE_SECONDS
            return False
        use.lean_since = None
        return now - use.since >= QUIET_SECONDS and now >= use.not_before

    def _replace(self, model: str) -> bool:
        """Unless a release or a switch is under way; the next look tries again. The old stubs serve on if it fails."""
        with suppress(GenreError, OSError), ModelRepository(self.repository).unless_locked() as free:
            if free:
                load_anew(self.repository, self.control, model)
            return free
        return True

    def _sizes(self, server: int) -> dict[str, int]:
        """Bytes of shared memory of the largest stub of each model."""
        files = {str(path): _bytes(path) for path in SHARED_MEMORY.glob(f"{self.prefix}*")}
        if sum(files.values()) <= KEPT_BYTES:  # the usual case, without a look into any process
            files = {}
        sizes: dict[str, int] = {}
        for pid, _, arguments in children(server):
            if model := model_of(arguments):
                size = sum(files[name] for name in set(_mapped(pid)) & set(files))
                sizes[model] = max(size, sizes.get(model, 0))
        return sizes


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0  # its stub has just ended


def _mapped(pid: int) -> Iterator[str]:
    """Paths of the files in /dev/shm that a process has mapped."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return
    for found in re.finditer(rf"{SHARED_MEMORY}/\S+", maps):
        yield found.group()
