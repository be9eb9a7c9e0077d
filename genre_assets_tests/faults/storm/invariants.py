"""What must hold on a stack however often it was struck. Each question raises `GenreError` while it cannot be asked."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from genre_assets.database import Database
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.promotion.route_state import standing
from genre_assets.settings import Settings
from genre_assets.stack.services import graphql
from genre_assets.triton.control import TritonControl

_PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")
LONGEST_WITHOUT_PROCESS = 120.0


@dataclass(frozen=True)
class Rows:
    """Request ids that were answered and have no row, and those that have more than one row."""

    lost: tuple[str, ...]
    doubled: tuple[str, ...]


def rows(settings: Settings, prefix: str, answered: Sequence[str]) -> Rows:
    """Compare the prediction log with what clients were answered. One item a request."""
    found = _database(settings).rows("SELECT request_id FROM served_requests WHERE request_id LIKE %s", (prefix + "%",))
    counted = Counter(str(row["request_id"]) for row in found)
    return Rows(
        tuple(sorted(set(answered) - set(counted))),
        tuple(sorted(name for name, times in counted.items() if times > 1)),
    )


@dataclass(frozen=True)
class Routes:
    """The route by the books, by the files and by Triton, and the route of a move that is open, if any."""

    books: str | None
    disk: str | None
    triton: str | None
    due: str | None

    @property
    def together(self) -> bool:
        """Whether all say the same, whether or not a move is open."""
        return self.books == self.disk == self.triton

    @property
    def agree(self) -> bool:
        """Whether all say the same and nothing is open."""
        return self.due is None and self.together


def routes(settings: Settings) -> Routes:
    """Ask the three."""
    now = standing(_database(settings))
    return Routes(
        now.serving.route if now.serving else None,
        ModelRepository(settings.repository).route,
        TritonControl.from_settings(settings).route(),
        now.due.route if now.due else None,
    )


class Runs:
    """Remembers since when a run in progress has no process."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.dagster_url
        self.since: dict[str, float] = {}
        self.longest = 0.0

    def look(self) -> list[str]:
        """Runs that have been in progress without a process for longer than is allowed."""
        now = time.monotonic()
        without = {run for run, pid in self._in_progress() if pid is None or not _lives(pid)}
        self.since = {run: self.since.get(run, now) for run in without}
        self.longest = max([self.longest, *(now - since for since in self.since.values())])
        return [run for run, since in self.since.items() if now - since > LONGEST_WITHOUT_PROCESS]

    def _in_progress(self) -> list[tuple[str, int | None]]:
        text = """{runsOrError(filter: {statuses: [STARTING, STARTED, CANCELING]}) {... on Runs {results {
            runId eventConnection {events {... on EngineEvent {message}}}}}}}"""
        answer = graphql.query(self.url, text, timeout=10)["runsOrError"]["results"]
        return [(run["runId"], _pid(run["eventConnection"]["events"])) for run in answer]


def _pid(events: list[dict[str, str]]) -> int | None:
    named = [match for event in events if (match := _PROCESS.search(event.get("message") or ""))]
    return int(named[-1].group(1)) if named else None


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value())
