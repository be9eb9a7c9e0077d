"""A local SMTP server that keeps the mails it is given."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Session(socketserver.StreamRequestHandler):
    """As much SMTP as a client needs to hand over a mail."""

    def handle(self) -> None:
        self._say("220 local")
        while command := self.rfile.readline().decode().strip():
            verb = command.split()[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
                assert isinstance(self.server, Mailbox)
                self.server.mails.append("\n".join(lines))
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._say("250 fine")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Mailbox(socketserver.ThreadingTCPServer):
    """Takes mails on a free port of loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[str] = []

    @property
    def url(self) -> str:
        """The mailbox's address as Apprise writes it."""
        return mail_url(self.server_address[1])


def mail_url(port: int) -> str:
    """An Apprise address of an SMTP server on loopback."""
    return f"mailto://127.0.0.1:{port}?from=platform@example.org&to=team@example.org&mode=insecure&smtp=127.0.0.1"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mailbox that listens until the end of the block."""
    box = Mailbox()
    thread = threading.Thread(target=box.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield box
    finally:
        box.shutdown()
        box.server_close()
        thread.join()
