"""A local HTTP endpoint that takes alerts, as a chat's webhook would."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what it gets, in order; refuses while `broken`."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[dict[str, Any]] = []
        self.broken = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver.broken:
                    receiver.got.append(json.loads(body))
                self.send_response(503 if receiver.broken else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def kinds(self, key: str = "") -> list[tuple[str, str]]:
        """(kind, key) of each message, in order; of one alert if `key` is given."""
        return [(message["kind"], message["key"]) for message in self.got if key in {"", message["key"]}]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver that listens until the end of the block."""
    receiver = Receiver(port)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
