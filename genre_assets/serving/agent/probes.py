"""What Kubernetes asks of an agent by HTTP: `/ready`, may this replica answer clients; `/live`, does the agent still work."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from genre_assets.serving.agent.agent import Agent, standing_of


@contextmanager
def answering(agent: Agent, host: str, port: int) -> Iterator[None]:
    """Answer probes until the end of the block."""

    class Probes(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            """200 or 503, with the reason as JSON."""
            said = standing_of(agent)
            if self.path == "/live":
                status = 200 if agent.alive() else 503
            else:
                status = (200 if said["ready"] else 503) if self.path == "/ready" else 404
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: it is asked every second."""

    server = ThreadingHTTPServer((host, port), Probes)
    thread = threading.Thread(target=server.serve_forever, name="probes")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
