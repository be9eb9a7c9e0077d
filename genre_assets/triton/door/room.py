"""How much the door holds for all its clients together, and what it counts for Prometheus.

Bodies of HTTP are counted before they are read. gRPC does not say how large a message is until it is whole: while messages
arrive, the memory of the process itself is looked at, and those that are not whole are refused when it is used up.
"""

import asyncio
import ctypes
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from genre_assets.triton.door.measured import Requests
from genre_assets.triton.door.rules import Refused, Why

RETRY_SECONDS = 1
OWN_BYTES = 256 * 2**20  # what the process itself, and memory kept for the next request, may add to what is held
LOOK_SECONDS = 0.1  # in which a message can bring what the network carries in it
TRANSPORTS = ("http", "grpc")


class Held:
    """Bytes of one request that are held."""

    def __init__(self, room: "Room") -> None:
        self._room = room
        self.size = 0

    def more(self, size: int) -> None:
        """Hold so many more. Raises `Refused`."""
        self._room.check(size)
        self._room.held += size
        self.size += size


class Room:
    """Bounds of the door: bytes that it holds, connections and calls of each transport."""

    def __init__(self, most_bytes: int, most_connections: int) -> None:
        self.most_bytes = most_bytes
        self.most_connections = most_connections
        self.held = 0
        self.clients = dict.fromkeys(
            TRANSPORTS, 0
        )  # connections of HTTP; calls of gRPC, which keeps its connections to itself
        self.refused = Counter({(transport, why): 0 for transport in TRANSPORTS for why in Why})
        self.requests = Requests(TRANSPORTS)
        self._arriving: set[asyncio.Timeout] = set()
        self._full = False
        self._base = memory()

    def check(self, size: int) -> None:
        """Raise `Refused` if so many bytes more are too many."""
        if self.held + size > self.most_bytes:
            raise Refused(
                Why.MEMORY,
                f"the door holds as much as GENRE_DOOR_MEMORY_MB allows ({self.most_bytes / 2**20:.0f} MB for all requests "
                "together): try again in a moment",
            )

    @contextmanager
    def holding(self, size: int = 0) -> Iterator[Held]:
        """Hold bytes until the end of the block. Raises `Refused`."""
        held = Held(self)
        try:
            held.more(size)
            yield held
        finally:
            self.held -= held.size

    def check_client(self, transport: str) -> None:
        """Raise `Refused` if one more is one too many."""
        if self.clients[transport] >= self.most_connections:
            raise Refused(
                Why.CONNECTIONS,
                f"the door serves as many clients as GENRE_DOOR_CONNECTIONS allows ({self.most_connections}): try again in a moment",
            )

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of gRPC. Raises `Refused`, and counts every refusal in the block."""
        try:
            self.check_client("grpc")
            self.clients["grpc"] += 1
            try:
                yield
            finally:
                self.clients["grpc"] -= 1
        except Refused as refusal:
            self.refused["grpc", refusal.why] += 1
            raise

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Something of unknown size arrives in the block. Raises `Refused` when the memory is used up before it is whole."""
        self.check(1)
        try:
            async with asyncio.timeout(None) as arrival:
                self._arriving.add(arrival)
                if self._full:
                    arrival.reschedule(0)
                yield
        except TimeoutError:
            self.check(self.most_bytes + 1)
        finally:
            self._arriving.discard(arrival)

    async def watch(self) -> None:
        """Look at the memory again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._full = bool(self._arriving) and memory() - self._base > self.most_bytes + OWN_BYTES
            if self._full:
                for arrival in self._arriving:
                    arrival.reschedule(0)
                await asyncio.sleep(LOOK_SECONDS)  # until they are gone
                _give_back()

    def text(self) -> str:
        """All of it as Prometheus reads it."""
        return "".join(
            [
                "# HELP genre_door_refused_total Requests that the door answered itself, by reason\n",
                "# TYPE genre_door_refused_total counter\n",
                *(
                    f'genre_door_refused_total{{transport="{transport}",reason="{why}"}} {count}\n'
                    for (transport, why), count in self.refused.items()
                ),
                "# HELP genre_door_held_bytes Bytes of requests that the door holds\n",
                "# TYPE genre_door_held_bytes gauge\n",
                f"genre_door_held_bytes {self.held}\n",
                "# HELP genre_door_clients Connections of HTTP, and calls of gRPC\n",
                "# TYPE genre_door_clients gauge\n",
                *(f'genre_door_clients{{transport="{name}"}} {count}\n' for name, count in self.clients.items()),
                *self.requests.lines(),
            ]
        )


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """What was freed goes back to the system, or the memory would seem to be used up."""
    with suppress(AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)
