"""A package index on this machine, which breaks off, ignores ranges or refuses as it is told, and wheels for it."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from genre_assets.shipped.wheels import Wheel


class Index:
    """Serves `content` at every address; `asked` holds the ranges of the requests so far (empty: all of it)."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []
        self.break_after: list[int] = []  # of the next requests, each ends after so many bytes
        self.takes_ranges = True
        self.status = 200
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                index.asked.append(asked)
                if index.status != 200:
                    self.send_error(index.status)
                    return
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and index.takes_ranges else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(index.content) - start))
                self.end_headers()
                end = start + index.break_after.pop(0) if index.break_after else None
                self.wfile.write(index.content[start:end])

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wheel(self, name: str = "some-server", sha256: str = "") -> Wheel:
        """What a lock says of the content."""
        file = f"{name.replace('-', '_')}-1.0-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl"
        found = hashlib.sha256(self.content).hexdigest()
        return Wheel(name, "1.0", f"{self.url}/{file}", sha256 or found, len(self.content))


@contextmanager
def serving(content: bytes) -> Iterator[Index]:
    """An index that listens until the end of the block."""
    index = Index(content)
    thread = threading.Thread(target=index.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield index
    finally:
        index.server.shutdown()
        index.server.server_close()
        thread.join()


def archive() -> bytes:
    """A wheel with a program and a text."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        for path, mode in (("some_server/bin/serve", 0o755), ("some_server/readme.txt", 0o644)):
            info = zipfile.ZipInfo(path)
            info.external_attr = (0o100000 | mode) << 16
            content.writestr(info, b"#!/bin/sh\necho served\n" * 2000)
    return file.getvalue()
