"""A service's light: its own question, asked again and again in a thread of its own, so that a hang is an answer too.

A light is healthy, unhealthy or unknown: a question that is not answered in time says nothing of the service but that.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from genre_assets.stack.supervision.service import Health

Finding = dict[str, str]
"""`level` (warning, problem, unknown), `seen` and `do`."""


class Beside(Protocol):
    """Questions that are asked beside those of the services."""

    def questions(self) -> Mapping[str, Callable[[], Health]]:
        """By name."""

    def findings(self, answers: Mapping[str, Health]) -> list[Finding]:
        """What came of them."""


@dataclass(frozen=True)
class Seen:
    """The last answer, and how old it is in seconds."""

    health: Health
    age: float


class Light:
    """Asks a question every `interval` seconds. `deadline` is how long an answer may take before it counts as none."""

    def __init__(self, question: Callable[[], Health], *, interval: float = 5.0, deadline: float = 10.0) -> None:
        self.question = question
        self.interval = interval
        self.deadline = deadline
        self._asked = time.monotonic()
        self._answered: tuple[Health, float] | None = None
        self._pending = True
        self._ending = threading.Event()
        threading.Thread(target=self._run, name="light", daemon=True).start()

    def seen(self) -> Seen | None:
        """The newest answer; None before the first. An answer that is overdue is unknown."""
        overdue = time.monotonic() - self._asked
        if self._pending and overdue > self.deadline:
            return Seen(Health(False, f"no answer in {overdue:.0f} s", known=False), overdue)
        if self._answered is None:
            return None
        health, at = self._answered
        return Seen(health, time.monotonic() - at)

    def forgive(self) -> None:
        """Count the time of the question that is under way from now on: until now nobody could have answered."""
        self._asked = time.monotonic()

    def end(self) -> None:
        """Ask no more; a question that hangs is left behind."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._asked, self._pending = time.monotonic(), True
            health = answer(self.question)
            self._answered, self._pending = (health, time.monotonic()), False
            self._ending.wait(self.interval if health.healthy else min(0.5, self.interval))


def answer(question: Callable[[], Health]) -> Health:
    """Its answer; a question that raises is answered with what it raised, and none may end the one who asks."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001  # a client library may raise anything over a broken connection
        return Health(False, f"{type(error).__name__}: {error}"[:300])


def ask_all(questions: Mapping[str, Callable[[], Health]], seconds: float) -> dict[str, Health]:
    """Ask all at once; those that do not answer within `seconds` are unknown."""
    found: dict[str, Health] = {}

    def ask(name: str) -> None:
        found[name] = answer(questions[name])

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    missing = Health(False, f"no answer in {seconds:g} s", known=False)
    return {name: found.get(name, missing) for name in questions}
