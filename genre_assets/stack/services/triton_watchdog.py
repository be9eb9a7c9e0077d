"""Reviving python stubs that died: Triton never restarts one, and every health endpoint goes on saying 200.

A dead stub stays a zombie child of the server. Changing the time of the files in the model's *version* folders and
loading it again replaces all its stubs (with a newer configuration alone the server keeps the dead ones); requests that
fail in between are the clients' to retry. Of a model with several stubs the server keeps the surviving old ones for
ever, idle: they are ended after a while. A stub that something stopped is killed, and then as dead as any; so is what a
stub has started (a decoder), which may be idle and missed only when it is needed.
"""

import os
import re
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from genre_assets.errors import GenreError, TransientFailure
from genre_assets.processes import children, descendants
from genre_assets.triton.control import TritonControl
from genre_assets.triton.protocol import step_of

LINGER_SECONDS = 30.0  # longer than any request that an old stub may still work on
STOPPED_SECONDS = 2.0
GIVE_UP_SECONDS = 10.0  # of loads that fail
_MODEL = re.compile(r"/(\w+)/\d+/model\.py\b")


@dataclass
class Watchdog:
    """Watches the children of one server process; call `revive` about once a second."""

    repository: Path
    control: TritonControl
    _models: dict[int, str] = field(default_factory=dict)  # process id -> model
    _handled: set[int] = field(default_factory=set)
    _replaced: dict[int, float] = field(default_factory=dict)  # process id of a surviving old stub -> when to end it
    _stopped: dict[int, float] = field(default_factory=dict)  # process id -> since when
    _settled: "Counter[str]" = field(default_factory=Counter)  # stubs of each model when none was missing
    _failing: dict[str, float] = field(default_factory=dict)  # model -> since when its loads fail
    _server: int = 0

    def revive(self, server: int) -> list[str]:
        """Load every model again that lost a stub since the last call; returns their names.

        A load that fails is tried again at the next call. Raises `TransientFailure` when it goes on failing: the
        server must be restarted.
        """
        if server != self._server:  # another server's processes say nothing of this one's: ids are used again
            for known in (self._models, self._handled, self._replaced, self._stopped, self._failing):
                known.clear()
            self._server = server
        self._end_stopped(server)
        released = self._released()
        alive, dead, nameless = self._look(server)
        dead = {pid for pid in dead if self._models[pid] in released}  # steps of another release are on their way out
        counts = Counter(self._models[pid] for pid in alive - set(self._replaced))
        lost = {self._models[pid] for pid in dead}
        if nameless:  # they died before they were seen alive: of the models that have fewer than before, or none at all
            lost |= {model for model in released if counts[model] < max(1, self._settled[model])}
        elif not dead:
            self._settled = counts
        revived = []
        for model in sorted(lost):
            try:
                load_anew(self.repository, self.control, model)
            except (GenreError, OSError) as error:
                since = self._failing.setdefault(model, time.monotonic())
                if time.monotonic() - since >= GIVE_UP_SECONDS:
                    raise TransientFailure(f"{model} lost a process and cannot be loaded: {error}") from error
                continue
            self._failing.pop(model, None)
            revived.append(model)
            self._handled.update(pid for pid in dead if self._models[pid] == model)
            self._replaced.update(
                {pid: time.monotonic() + LINGER_SECONDS for pid in alive if self._models[pid] == model}
            )
        if lost and set(revived) == lost:
            self._handled.update(nameless)
        self._end_replaced(alive)
        return revived

    def _released(self) -> set[str]:
        return {path.name for path in self.repository.glob("*") if step_of(path.name)}

    def living(self, server: int) -> dict[str, int]:
        """Models by name, with how many stubs of theirs live that were not replaced."""
        alive, _, _ = self._look(server)
        return dict(Counter(self._models[pid] for pid in alive - set(self._replaced)))

    def _end_stopped(self, server: int) -> None:
        now = time.monotonic()
        stopped = [pid for pid, state, _ in descendants(server) if state == "T"]
        self._stopped = {pid: self._stopped.get(pid, now) for pid in stopped}
        for pid, since in self._stopped.items():
            if now - since >= STOPPED_SECONDS:
                _kill(pid)

    def _end_replaced(self, alive: set[int]) -> None:
        for pid, when in list(self._replaced.items()):
            if pid not in alive or time.monotonic() > when:
                del self._replaced[pid]
                self._handled.add(pid)
                if pid in alive:
                    _kill(pid)

    def _look(self, server: int) -> tuple[set[int], set[int], set[int]]:
        """Of the server's children: stubs that live, dead ones whose model is known and not yet revived, and the nameless.

        A dead process has no command line, so the model of one that died before the first look after its start is unknown.
        """
        alive: set[int] = set()
        dead: set[int] = set()
        nameless: set[int] = set()
        for pid, state, arguments in children(server):
            model = model_of(arguments)
            if model:
                self._models[pid] = model
            if state == "Z":
                if pid not in self._handled:
                    (dead if pid in self._models else nameless).add(pid)
            elif pid in self._models:
                alive.add(pid)
        return alive, dead, nameless


def load_anew(repository: Path, control: TritonControl, model: str) -> None:
    """Give a model new stubs: it is loaded again only where a file of its version has changed."""
    for file in (repository / model).glob("[0-9]*/model.py"):
        file.touch()
    control.load(model)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended, and was collected, since it was looked at
        os.kill(pid, signal.SIGKILL)


def model_of(arguments: str) -> str | None:
    """The model that a stub serves, from its command line; None for another process, or a dead one."""
    named = _MODEL.search(arguments)
    return named.group(1) if named else None
