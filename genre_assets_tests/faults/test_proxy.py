"""The fault proxy itself: what it claims to do is what a client meets."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genre_assets_tests.faults.proxy import FaultProxy

BODY = bytes(100_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if len(body) == len(BODY) else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # its clients are cut off on purpose
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    with FaultProxy(("127.0.0.1", server.server_port)) as made:
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def connected(proxy: FaultProxy, timeout: float = 5.0) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def get(proxy: FaultProxy, timeout: float = 5.0) -> tuple[int, bytes]:
    with connected(proxy, timeout) as connection:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_it_passes_on_what_it_is_given_and_nothing_counts_as_a_fault(proxy: FaultProxy) -> None:
    assert get(proxy) == (200, BODY)
    assert proxy.met == 0


def test_each_fault_is_met_and_over_when_its_block_ends(proxy: FaultProxy) -> None:
    with proxy.behaving("refuse"), pytest.raises(ConnectionRefusedError):
        get(proxy)
    assert get(proxy) == (200, BODY)
    with proxy.behaving("hang"), pytest.raises(TimeoutError):
        get(proxy, timeout=0.3)
    assert get(proxy) == (200, BODY)
    with proxy.behaving("unavailable"):
        assert get(proxy)[0] == 503
    assert get(proxy) == (200, BODY)
    with proxy.behaving("slow", seconds=0.1):
        began = time.monotonic()
        assert get(proxy) == (200, BODY)
        assert time.monotonic() - began >= 0.2  # the request, and at least one chunk of the answer
    assert proxy.met >= 3  # a refused connection is never seen; a closing one may meet two


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_bodies_are_cut_in_either_direction(proxy: FaultProxy, method: str) -> None:
    with (
        proxy.behaving("cut", amount=20_000),
        connected(proxy) as connection,
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        connection.request(method, "/", body=BODY if method == "PUT" else None)
        connection.getresponse().read()


def test_a_connection_that_is_open_meets_the_fault_too(proxy: FaultProxy) -> None:
    with connected(proxy, timeout=0.5) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().read() == BODY
        with proxy.behaving("hang"):
            connection.request("GET", "/")
            with pytest.raises(TimeoutError):
                connection.getresponse()


def test_connections_beyond_the_limit_are_closed_and_those_within_it_served(proxy: FaultProxy) -> None:
    with proxy.behaving("limit", amount=1), connected(proxy) as first, connected(proxy) as second:
        first.request("GET", "/")
        assert first.getresponse().read() == BODY
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            second.request("GET", "/")
            second.getresponse()


def test_it_refuses_while_its_target_is_away() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with FaultProxy(nobody.getsockname()) as proxy, pytest.raises((ConnectionError, http.client.HTTPException)):
            get(proxy)
