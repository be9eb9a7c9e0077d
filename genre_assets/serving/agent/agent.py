"""One agent: hears what is wanted, makes its own Triton serve it as any release goes live, and reports what it serves.

Three threads share a few plain values: the main one follows, one reports, one answers probes (`probes`). Only the main one
touches files and server. What it was told last it keeps on doing while nobody can be heard, and no longer answers after a while.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.errors import DamagedObject, GenreError, PermanentFailure, TransientFailure
from genre_assets.packaging import publish
from genre_assets.packaging.model_repository import ModelRepository, Standing
from genre_assets.serving.promotion import replica_state
from genre_assets.serving.promotion.replica_state import Listener, Report, Wish
from genre_assets.serving.rollout.live import go_live
from genre_assets.serving.rollout.live_files import stale, verify_signature
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl
from genre_assets.triton.known_clip import known_clip

if TYPE_CHECKING:
    from genre_assets.serving.promotion.policy import Route

LOOK_SECONDS = 1.0  # word comes at once; this is for word that was lost
LOOK_AT_STORE_SECONDS = 0.3  # nobody brings word of what is left in the object store
REPORT_SECONDS = 1.0
PROBE_SECONDS = 3.0
RETRY_SECONDS = 5.0  # after a failure that trying again may help


class Agent:
    """The agent of one replica. `run` returns when `end` was called."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.replica or socket.gethostname()
        self.repository = ModelRepository(settings.repository)
        self._database = Database(settings.database_url.get_secret_value())
        self._store = ObjectStore(s3_client(settings, connect_seconds=3, read_seconds=20, attempts=2))
        self._control = TritonControl.behind_the_door(settings)
        self._listener = Listener(self._database)
        self._wish: Wish | None = None
        self._applied = 0  # generation of the newest wish that all replicas have served
        self._serving = 0  # generation of the wish that this one serves
        self._refused: int | None = None  # generation that it cannot serve
        self._failing: int | None = None  # generation that it tries again after a while
        self._why, self._well, self._verified = "starts", False, False
        self._heard, self._has_books = float("-inf"), True
        self._looked = self._probed = self._tried = float("-inf")
        self._ending, self._changed = threading.Event(), threading.Event()

    def run(self) -> None:
        """Follow until the end, and leave the books in order."""
        reporter = threading.Thread(target=self._report_on, name="reporter")
        reporter.start()
        try:
            while not self._ending.is_set():
                self._look()
                if self._listener.wait(LOOK_SECONDS if self._has_books else LOOK_AT_STORE_SECONDS):
                    self._changed.set()  # who brings word may want to know how this one stands
        finally:
            self.end()
            reporter.join()
            self._listener.close()
            self._store.client.close()
            with suppress(TransientFailure):
                replica_state.forget(self._database, self.name)

    def end(self) -> None:
        """Answer no more, and return from `run`."""
        self._ending.set()
        self._changed.set()

    def ready(self) -> tuple[bool, str]:
        """Whether this replica may answer clients, and why not."""
        wish, silent = self._wish, time.monotonic() - self._heard
        if self._ending.is_set():
            return False, "it ends"
        if wish is None:
            return False, self._why
        if silent > self.settings.replica_lost_seconds:
            return False, f"what is wanted was not heard for {silent:.0f} s: {self._why}"
        current = self._serving == wish.generation or (not wish.applied and self._serving == self._applied)
        if not current or not self._well:
            return False, self._why
        return True, f"serves the {wish.route} of release {wish.release}"

    def alive(self) -> bool:
        """Whether the main thread still looks around: a load may take minutes, and no longer."""
        return time.monotonic() - self._looked < self.settings.replica_timeout_seconds * 5

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            wish = self._hear()
        except (GenreError, FileNotFoundError) as error:
            self._say(f"what is wanted cannot be heard: {error}")
            return
        if wish is None:
            self._say("nothing is released yet: run the build job")
            return
        self._follow(wish)

    def _hear(self) -> Wish | None:
        """What is wanted, by the books; without them, by what the promotion left in the object store."""
        try:
            wish = replica_state.wanted(self._database)
            self._has_books = True
            if wish is not None and not wish.applied:
                before = replica_state.applied(self._database)
                self._applied = before.generation if before else 0
        except TransientFailure:
            self._has_books = False
            value = self._store.read_json(self.settings.serving_bucket, keys.WANTED_RELEASE)
            try:
                wish = Wish(**{**value, "applied": True})
            except TypeError as error:
                raise DamagedObject(f"{keys.WANTED_RELEASE} in the serving bucket is no wish: {error}") from error
        if wish is not None and wish.applied:
            self._applied = wish.generation
        self._heard, self._wish = time.monotonic(), wish
        return wish

    def _follow(self, wish: Wish) -> None:
        now = time.monotonic()
        if self._serving == wish.generation and now - self._probed < PROBE_SECONDS:
            return
        if self._failing == wish.generation and now - self._tried < RETRY_SECONDS:
            return
        try:
            self._serve(wish)
            self._control.probe(known_clip())
        except (GenreError, OSError) as error:
            self._tried, self._failing, self._well = time.monotonic(), wish.generation, self._answers()
            transient = isinstance(error, TransientFailure) or isinstance(error.__cause__, TransientFailure)
            self._refused = None if transient else wish.generation
            self._say(str(error))
            return
        self._probed, self._serving, self._well = time.monotonic(), wish.generation, True
        self._refused = self._failing = None
        self._say(f"serves the {wish.route} of release {wish.release}")

    def _serve(self, wish: Wish) -> None:
        """Make files and server equal to the wish, each model verified before it is loaded."""
        route: Route = "fallback" if wish.route == "fallback" else "champion"
        if self._is_served(wish):
            if not self._verified:  # what lies here since before this process
                verify_signature(self.settings, self._store, self.repository.manifest(wish.release))
                self.repository.verify(self.repository.manifest(wish.release))
                self._verified = True
            return
        release = publish.named(self.settings, self._store, wish.release)
        with GenreClient.from_settings(self.settings, deadline_s=30) as client:
            go_live(self.settings, self._store, self._control, client, lambda _: route, release)
        self._verified = True

    def _is_served(self, wish: Wish) -> bool:
        if self.repository.standing() != Standing(wish.release, wish.route) or not self.repository.has(wish.release):
            return False
        return not stale(self._control, self.repository.manifest(wish.release), wish.route)

    def _answers(self) -> bool:
        """Whether the server answers, whatever it serves."""
        try:
            self._control.probe(known_clip())
        except (PermanentFailure, TransientFailure):
            return False
        return True

    def _say(self, why: str) -> None:
        if why != self._why:
            self._why = why
            print(f"agent: {self.name}: {why}", flush=True)
        self._changed.set()

    def _report_on(self) -> None:
        while not self._ending.is_set():
            self._changed.wait(REPORT_SECONDS)
            self._changed.clear()
            with suppress(GenreError, OSError):  # it is said again in a moment; files may be in the middle of a change
                now = self.repository.standing()
                said = Report(self.name, self._serving, now.release, now.route, self._well, self._refused, self._why)
                replica_state.report(self._database, said)


def standing_of(agent: Agent) -> dict[str, object]:
    """What a probe is told, as JSON values."""
    ready, why = agent.ready()
    return {"replica": agent.name, "ready": ready, "why": why}
