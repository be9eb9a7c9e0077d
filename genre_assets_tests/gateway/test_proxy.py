"""`deploy/proxy/Caddyfile` by the real Caddy, before the real gateway and services that show what reaches them: who is let in."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from genre_assets.database import Database
from genre_assets.gateway.access import api_keys
from genre_assets.gateway.access.api_keys import Scope
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings
from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets.stack.services.postgres import Postgres
from genre_assets_tests.conftest import _create_database, free_port
from genre_assets_tests.gateway.conftest import gateway
from genre_assets_tests.waiting import until

CADDYFILE = PROJECT_ROOT / "deploy" / "proxy" / "Caddyfile"
CADDY = Path(sys.executable).with_name("caddy")
BEHIND = ("dagster", "mlflow", "grafana")


class _Behind(BaseHTTPRequestHandler):
    """A service that says which headers reached it, and takes websockets."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the library's name
        if self.headers.get("upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.close_connection = True
            return
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Not on the tests' output."""


@dataclass(frozen=True)
class Proxy:
    """The ports, what its certificates are known by, and keys of the gateway by their scope."""

    ports: dict[str, int]
    trust: ssl.SSLContext
    keys: dict[str, str]
    database: Database

    def url(self, name: str, path: str = "/") -> str:
        return f"https://localhost:{self.ports[name]}{path}"

    def get(self, name: str, path: str = "/", key: str = "", **headers: str) -> httpx.Response:
        """One request, as a program that sends its key does it."""
        sent = {**headers, **({"Authorization": f"Bearer {self.keys[key]}"} if key else {})}
        return httpx.get(self.url(name, path), headers=sent, verify=self.trust, timeout=60)


@pytest.fixture(scope="module")
def proxy(
    postgres: Postgres, brought_up: str, s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    program = str(CADDY) if CADDY.exists() else shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed: make dev")
    folder = tmp_path_factory.mktemp("proxy")
    database = Database(postgres.url(_create_database(postgres, brought_up)))
    scopes = {str(scope): api_keys.create(database, f"proxy-{scope}", frozenset({scope}), by="ann") for scope in Scope}
    behind = ThreadingHTTPServer(("127.0.0.1", 0), _Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    ports = {name: free_port() for name in ("http", "https", *BEHIND)}
    settings = s3_settings.model_copy(update={"database_url": database.url})
    own = {"gateway_keys": "always", "gateway_public_url": f"https://localhost:{ports['https']}"}
    with gateway(settings, folder / "gateway", **own) as address:
        upstream = dict.fromkeys(BEHIND, f"127.0.0.1:{behind.server_port}") | {"gateway": address.partition("//")[2]}
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder),
            **{f"GENRE_PROXY_{name.upper()}_PORT": str(port) for name, port in ports.items()},
            **{f"GENRE_PROXY_{name.upper()}": where for name, where in upstream.items()},
        }  # fmt: skip
        command = [program, "run", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
        with (folder / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as caddy:
            try:
                root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
                served = [ports[name] for name in ("https", *BEHIND)]
                until(
                    lambda: root.exists() and all(_has_certificate(port, root) for port in served),
                    "caddy serves by TLS",
                )
                yield Proxy(ports, ssl.create_default_context(cafile=str(root)), scopes, database)
            finally:
                caddy.terminate()
    behind.shutdown()
    behind.server_close()


def _has_certificate(port: int, root: Path) -> bool:
    """Caddy listens before its own authority has signed a certificate for the name."""
    context = ssl.create_default_context(cafile=str(root))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("name", BEHIND)
def test_a_stranger_sees_nothing_of_what_is_behind_and_an_operator_is_let_through(proxy: Proxy, name: str) -> None:
    assert proxy.get(name).status_code == 401
    assert proxy.get(name, Authorization="Bearer ga_wrong").status_code == 401
    asked = proxy.get(name, "/runs", Accept="text/html")
    assert (asked.status_code, asked.headers["location"]) == (303, proxy.url("https", "/sign-in"))
    for scope in ("predict", "label"):
        refused = proxy.get(name, key=scope)
        assert refused.status_code == 403
        assert "needs the scope operate" in refused.json()["detail"]
    let_in = proxy.get(name, "/runs", key="operate", Cookie=f"theirs=1; genre_key={proxy.keys['operate']}; more=2")
    assert let_in.status_code == 200
    assert "strict-transport-security" in let_in.headers
    reached = let_in.json()
    assert reached["x-forwarded-proto"] == "https"
    assert "authorization" not in reached
    assert "ga_" not in let_in.text, "what is behind never sees a key"
    assert ("theirs=1" in reached["cookie"], "more=2" in reached["cookie"]) == (True, True)


def test_who_signs_in_has_a_cookie_that_no_script_and_no_other_site_can_use(proxy: Proxy) -> None:
    page = proxy.get("https", "/sign-in")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    taken = httpx.post(
        proxy.url("https", "/sign-in"), data={"key": proxy.keys["operate"]}, verify=proxy.trust, timeout=60
    )
    cookie = taken.headers["set-cookie"]
    assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(cookie.split("; "))
    sent = cookie.partition(";")[0]
    assert proxy.get("dagster", Cookie=sent).status_code == 200
    other = proxy.get("mlflow", Cookie=sent, Origin=f"https://localhost:{proxy.ports['grafana']}")
    assert other.status_code == 403, "a page of one of them may not use another"


def test_a_websocket_is_opened_for_a_key_alone(proxy: Proxy) -> None:
    assert " 401 " in _handshake(proxy, "")
    assert " 101 " in _handshake(proxy, f"Authorization: Bearer {proxy.keys['operate']}\r\n")


def _handshake(proxy: Proxy, more: str) -> str:
    """The first line of the answer."""
    with (
        socket.create_connection(("localhost", proxy.ports["dagster"]), timeout=60) as plain,
        proxy.trust.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(
            f"GET /graphql HTTP/1.1\r\nHost: localhost:{proxy.ports['dagster']}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n".encode()
        )
        return connection.recv(4096).decode().partition("\r\n")[0]


def test_what_is_asked_inside_is_not_told_outside_and_plain_http_leads_to_https(proxy: Proxy) -> None:
    for path in ("/v1/metrics", "/v1/auth"):
        assert proxy.get("https", path, key="operate").status_code == 404
    assert proxy.get("https", "/v1/live").status_code == 200
    assert proxy.get("https", "/v1/route").status_code == 401
    moved = httpx.get(f"http://localhost:{proxy.ports['http']}/review", timeout=60)
    assert moved.status_code == 308
    assert moved.headers["location"].startswith("https://localhost")


def test_what_somebody_wrote_is_text_on_a_page(proxy: Proxy) -> None:
    route_state.confirm(proxy.database, "champion", actor="build", reason="first release")
    route_state.confirm(proxy.database, "fallback", actor="person", reason="<script>alert(1)</script>")
    shown = proxy.get("https", "/windows", key="operate").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert" not in shown
