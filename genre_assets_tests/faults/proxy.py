"""A TCP proxy on loopback that misbehaves on demand: between the platform and a service that it depends on.

    with FaultProxy(("127.0.0.1", 9300)) as proxy:
        settings = load_settings(s3_endpoint_url=f"http://127.0.0.1:{proxy.port}")
        with proxy.behaving("hang"):
            ...

What it does applies at once, to new connections and to those that are open. It counts the connections that it saw
while misbehaving (`met`), so that a test can tell that its fault was met at all, and keeps what was asked for
(`requests`), so that a test can tell how often.
"""

import re
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["pass", "slow", "refuse", "hang", "unavailable", "cut", "limit"]
CHUNK = 16 * 1024
TICK = 0.05
_SORRY = b"<Error><Code>ServiceUnavailable</Code><Message>the fault proxy says so</Message></Error>"
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_SORRY), _SORRY)
)
_ASKED = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST


@dataclass(frozen=True)
class Behaviour:
    """What the proxy does.

    pass : bytes travel as they come.
    slow : each chunk waits `seconds`.
    refuse : nobody listens; open connections are reset.
    hang : connections are accepted, and nothing travels; those that hung are reset when it is over.
    unavailable : each HTTP request is answered with 503.
    cut : a connection is reset after `amount` bytes in one direction.
    limit : at most `amount` connections are open at once; more are closed at once.
    """

    kind: Kind = "pass"
    seconds: float = 0.0
    amount: int = 0


PASS = Behaviour()


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes on to `target`, as its behaviour says."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.behaviour = PASS
        self.met = 0  # connections, new or open, that met a behaviour other than "pass"
        self.requests: list[tuple[str, str]] = []  # of HTTP, in plain text: method and target
        self._listener: socket.socket | None = None
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """As an HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def behaving(self, kind: Kind, *, seconds: float = 0.0, amount: int = 0) -> Iterator[None]:
        """Misbehave so until the end of the block."""
        self.behave(kind, seconds=seconds, amount=amount)
        try:
            yield
        finally:
            self.behave("pass")

    def behave(self, kind: Kind, *, seconds: float = 0.0, amount: int = 0) -> None:
        """Misbehave so from now on."""
        self.behaviour = Behaviour(kind, seconds, amount)
        if kind == "refuse":
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
                listener.close()
            self._reset_all()
        elif self._listener is None:
            self._listener = self._listen(self.port)

    def close(self) -> None:
        """End; open connections are reset."""
        self._ending.set()
        self.behave("refuse")
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        return listener

    def _accept(self) -> None:
        while not self._ending.is_set():
            listener = self._listener
            if listener is None:
                time.sleep(TICK)
                continue
            try:
                client, _ = listener.accept()
            except OSError:  # closed: it refuses now
                time.sleep(TICK)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            crowded = self.behaviour.kind == "limit" and len(self._open) // 2 >= self.behaviour.amount
        if crowded:
            self.met += 1
            _close(client)
            return
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            _close(client, reset=True)
            return
        with self._lock:
            self._open |= {client, server}
        try:
            self._pass_on(client, server)
        except OSError:
            pass  # either side went away
        finally:
            with self._lock:
                self._open -= {client, server}
            _close(client, reset=self.behaviour.kind in {"cut", "refuse"})
            _close(server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        travelled, counted, hung = {client: 0, server: 0}, PASS, False
        with selectors.DefaultSelector() as waiting:
            waiting.register(client, selectors.EVENT_READ, server)
            waiting.register(server, selectors.EVENT_READ, client)
            while not self._ending.is_set():
                now = self.behaviour
                if hung and now.kind != "hang":
                    return
                if now.kind == "hang":
                    self._meet(counted, now)
                    counted, hung = now, True
                    if _gave_up(client):
                        return
                    time.sleep(TICK)
                    continue
                ready = [(key.fileobj, key.data) for key, _ in waiting.select(TICK)]
                if self.behaviour is not now:
                    continue  # the behaviour changed meanwhile: what waits belongs to the new one
                for source, sink in ready:
                    self._meet(counted, now)
                    counted = now
                    data = source.recv(CHUNK)  # type: ignore[union-attr]
                    if not data or not self._deliver(data, source, sink, travelled, client, now):  # type: ignore[arg-type]
                        return

    def _deliver(
        self,
        data: bytes,
        source: socket.socket,
        sink: socket.socket,
        travelled: dict[socket.socket, int],
        client: socket.socket,
        now: Behaviour,
    ) -> bool:
        """Send one chunk on; False ends the connection."""
        asked = _ASKED.match(data) if source is client else None
        if asked:
            self.requests.append((asked[1].decode(), asked[2].decode()))
        if now.kind == "unavailable" and source is client:
            client.sendall(UNAVAILABLE)
            client.shutdown(socket.SHUT_WR)
            _drain(client)
            return False
        if now.kind == "slow":
            time.sleep(now.seconds)
        if now.kind == "cut":
            left = now.amount - travelled[source]
            travelled[source] += len(data)
            if len(data) > left:
                sink.sendall(data[: max(0, left)])
                return False
        sink.sendall(data)
        return True

    def _meet(self, before: Behaviour, now: Behaviour) -> None:
        if now.kind != "pass" and now is not before:
            self.met += 1

    def _reset_all(self) -> None:
        with self._lock:
            self.met += len(self._open) // 2
            for one in self._open:
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RDWR)


def _close(one: socket.socket, *, reset: bool = False) -> None:
    with suppress(OSError):
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.close()


def _drain(one: socket.socket) -> None:
    """Take what the client still sends, so that closing does not reset the answer away."""
    one.settimeout(0.5)
    with suppress(OSError):
        while one.recv(CHUNK):
            pass


def _gave_up(client: socket.socket) -> bool:
    """Whether the client has closed, without taking what it sent."""
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        client.setblocking(True)
