"""A web application that answers only to its own name: no foreign Host, no foreign Origin, no change by GET.

Dagster's webserver runs mutations that come by GET and looks at neither header, so any page that its user opens could
launch jobs with an `<img>`, and a name that is made to resolve to 127.0.0.1 could read everything. This ASGI wrapper
stands before it. It keeps out what a browser sends on another page's behalf; it is no login.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
READING = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_ALLOWED, FORBIDDEN, MISDIRECTED = 405, 403, 421


class OwnOriginOnly:
    """Wraps an ASGI application.

    Parameters
    ----------
    app : the application.
    names : host names (without port) that the application is reached by, beside those of the loopback.
    setting : the variable that adds one.
    """

    def __init__(self, app: App, names: Iterable[str], setting: str) -> None:
        self.app = app
        self.setting = setting
        self.names = frozenset(name.lower() for name in (*LOOPBACK, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403, 405 or 421 with a sentence that says why."""
        refusal = self.refusal(scope) if scope["type"] in {"http", "websocket"} else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the handshake; closed before it is accepted, it is answered with 403
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})
        else:
            await _answer(send, *refusal)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """HTTP status and reason, if the request must not reach the application."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _name(f"//{host}") not in self.names:
            hint = f"if it is an address of this server, add it to {self.setting}"
            return MISDIRECTED, f"this server does not answer to the host {host!r}; {hint}"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return FORBIDDEN, f"a page of {origin!r} may not use this server"
        if scope["type"] == "websocket":
            return None
        by_reading = scope["method"] in READING
        if not by_reading and headers.get(b"sec-fetch-site", "none") not in {"none", "same-origin"}:
            return FORBIDDEN, "another site's page may not change anything here"
        return self._refused_change(scope, by_reading=by_reading)

    def _refused_change(self, scope: Scope, *, by_reading: bool) -> tuple[int, str] | None:
        """A GraphQL operation in the address may only be a query: addresses travel in links, images and logs."""
        if not scope["path"].endswith("/graphql"):
            return None
        written = parse_qs(scope["query_string"].decode("latin-1")).get("query", [])
        if all(map(_only_reads, written)):
            return None
        return (
            NOT_ALLOWED,
            f"a mutation is sent by POST with a JSON body, not {'by GET' if by_reading else 'in the address'}",
        )


def _name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _only_reads(text: str) -> bool:
    """Whether a GraphQL document holds queries alone. One that does not parse changes nothing either."""
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    try:
        definitions = parse(text).definitions
    except (GraphQLError, RecursionError):
        return True
    operations = [d.operation for d in definitions if isinstance(d, OperationDefinitionNode)]
    return all(operation is OperationType.QUERY for operation in operations)


async def _answer(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
