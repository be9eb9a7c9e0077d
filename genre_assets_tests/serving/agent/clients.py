"""Clients of several replicas, who go to those that may answer; and a watch on how long these differ."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from genre_assets.errors import GenreError
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.serving.agent.replicas import Fleet, Replica, served_by
from genre_assets_tests.serving.toys import clip


@dataclass
class Observed:
    """What clients of a `load` got, and how long replicas that may answer had different routes."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)  # seconds of each time
    versions: set[int] = field(default_factory=set)


class Clients:
    """A client for each replica, sent to another one while that one may not answer, as a Service does."""

    def __init__(self, fleet: Fleet, pause: float) -> None:
        self.fleet, self.pause, self.seen = fleet, pause, Observed()
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.ready = {one.name: one.asked()[0] for one in fleet.replicas}
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(len(fleet.replicas))]
        self.threads += [threading.Thread(target=self.watch, args=(one,)) for one in fleet.replicas]
        self.threads += [threading.Thread(target=self.compare)]

    def ask(self, number: int) -> None:
        """Ask one short clip after another."""
        replicas = self.fleet.replicas[number:] + self.fleet.replicas[:number]
        item = clip(number, seconds=1.0, rate=4_000)
        with ExitStack() as stack:
            clients = {r.name: GenreClient(r.settings.triton_grpc, deadline_s=30) for r in replicas}
            for client in clients.values():
                stack.callback(client.close)
            while not self.ending.wait(self.pause):
                name = next((one.name for one in replicas if self.ready[one.name]), None)
                if name is not None:
                    self.ask_one(clients[name], name, item)

    def ask_one(self, client: GenreClient, name: str, item: bytes) -> None:
        """Ask one, and count."""
        try:
            answer = client.predict([item], log=False)[0]
        except GenreError as error:
            with self.lock:
                self.seen.failures.append(f"{name}: {error}")
            return
        with self.lock:
            self.seen.answered += 1
            self.seen.failures += [answer.error] if answer.error else []
            self.seen.versions.add(answer.version)

    def watch(self, one: Replica) -> None:
        """Probe a replica, as Kubernetes does."""
        while not self.ending.wait(0.2):
            self.ready[one.name] = one.asked()[0]

    def compare(self) -> None:
        """Look how long those that may answer have different routes."""
        since: float | None = None
        while not self.ending.wait(0.1):
            routes = {served_by(one) for one in self.fleet.replicas if self.ready[one.name]} - {None}
            now = time.monotonic()
            if len(routes) > 1:
                since = since or now
            elif since is not None:
                self.seen.apart.append(now - since)
                since = None


@contextmanager
def load(fleet: Fleet, pause: float = 0.05) -> Iterator[Observed]:
    """Clients that ask until the end of the block."""
    clients = Clients(fleet, pause)
    for thread in clients.threads:
        thread.start()
    try:
        yield clients.seen
    finally:
        clients.ending.set()
        for thread in clients.threads:
            thread.join()
