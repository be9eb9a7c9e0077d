"""Dagster's real webserver, asked as a hostile page would: by GET, under another name, from another origin."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.stack.services import graphql
from genre_assets_tests.conftest import free_port
from genre_assets_tests.waiting import until

MUTATION = "mutation { setNuxSeen }"
SEEN = "{ shouldShowNux }"


class Webserver:
    """One webserver over an instance of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def graphql(self, text: str, **headers: str) -> tuple[int, str]:
        body = json.dumps({"query": text}).encode()
        return self.ask("POST", "/graphql", {"Content-Type": "application/json", **headers}, body)

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/server_info")[0] == 200
        except OSError:
            return False


@contextmanager
def serving(home: Path, instance: str, workspace: Sequence[str] = ("--empty-workspace",)) -> Iterator[Webserver]:
    """The webserver over the instance that is described, until the end of the block."""
    port = free_port()
    home.joinpath("dagster.yaml").write_text(instance)
    command = [sys.executable, "-m", "genre_assets.stack.webserver"]
    command += [*workspace, "-h", "127.0.0.1", "-p", str(port)]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "GENRE_HOME": str(home),
        "GENRE_DAGSTER_URL": f"http://127.0.0.1:{port}",
        "GENRE_DAGSTER_ALLOWED_HOSTS": "music.example, other.example",
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        server = Webserver(port)
        until(lambda: process.poll() is not None or server.answers(), "the webserver answers", 120)
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    with serving(tmp_path_factory.mktemp("dagster"), "telemetry: {enabled: false}\n") as server:
        yield server


def test_our_own_clients_and_the_ui_are_served(webserver: Webserver) -> None:
    own = f"127.0.0.1:{webserver.port}"
    assert webserver.graphql("{ version }")[0] == 200
    assert webserver.graphql("{ version }", Origin=f"http://{own}", Host=own)[0] == 200
    assert webserver.graphql("{ version }", Host="music.example", Origin="https://music.example")[0] == 200
    assert webserver.ask("GET", f"/graphql?query={quote('{ version }')}")[0] == 200
    link_in_an_alert = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    assert webserver.ask("GET", "/runs", link_in_an_alert)[0] == 200


def test_a_mutation_by_get_changes_nothing(webserver: Webserver) -> None:
    before = webserver.graphql(SEEN)
    status, said = webserver.ask("GET", f"/graphql?query={quote(MUTATION)}")
    assert (status, "sent by POST" in said) == (405, True)
    hidden = "query A { version } mutation B { setNuxSeen }"
    assert webserver.ask("GET", f"/graphql?query={quote(hidden)}&operationName=B")[0] == 405
    assert webserver.graphql(SEEN) == before


def test_a_form_of_another_page_changes_nothing(webserver: Webserver) -> None:
    """A form needs no permission to be sent elsewhere, and Dagster then reads the operation from the address."""
    plain = {"Content-Type": "text/plain"}
    assert webserver.ask("POST", f"/graphql?query={quote(MUTATION)}", plain, b"x")[0] == 405
    assert webserver.graphql(MUTATION, Origin="http://evil.example")[0] == 403
    assert webserver.graphql(MUTATION, Origin="null")[0] == 403
    assert webserver.graphql(MUTATION, Origin="http://127.0.0.1:1")[0] == 403
    assert webserver.graphql(MUTATION, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    report = webserver.ask("POST", "/report_asset_materialization/a", {"Origin": "http://evil.example"}, b"{}")
    assert report[0] == 403


def test_a_name_that_is_not_its_own_is_not_answered(webserver: Webserver) -> None:
    for host in ("evil.example", f"evil.example:{webserver.port}", "127.0.0.1.evil.example", ""):
        status, said = webserver.graphql("{ version }", Host=host)
        assert status == 421, host
        assert "GENRE_DAGSTER_ALLOWED_HOSTS" in said


def test_another_pages_websocket_is_refused(webserver: Webserver) -> None:
    handshake = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "graphql-ws",
    }  # fmt: skip
    assert webserver.ask("GET", "/graphql", {**handshake, "Origin": "http://evil.example"})[0] == 403


def test_a_launch_without_the_code_server_says_what_is_away(tmp_path: Path) -> None:
    """Dagster's own words were "Could not find Pipeline", of a job that there is."""
    workspace = tmp_path / "workspace.yaml"
    server = f"{{host: 127.0.0.1, port: {free_port()}, location_name: {graphql.LOCATION}}}"
    workspace.write_text(f"load_from: [{{grpc_server: {server}}}]\n")
    with (
        serving(tmp_path, "telemetry: {enabled: false}\n", ["-w", str(workspace)]) as webserver,
        pytest.raises(
            TransientFailure, match=r"cannot launch drift now: the code server does not answer.*genre-assets status"
        ),
    ):
        graphql.launch(f"http://127.0.0.1:{webserver.port}", "drift")


def test_a_restart_of_the_database_fails_no_request(tmp_path: Path, database: Database) -> None:
    """Dagster keeps connections and does not ask whether they live: the first request after a restart was a 500."""
    url = database.url.replace("postgresql:", "postgresql+psycopg2:", 1)
    instance = f"storage: {{postgres: {{postgres_url: '{url}'}}}}\ntelemetry: {{enabled: false}}\n"
    with serving(tmp_path, instance) as server:
        for text in (
            "{ instance { daemonHealth { allDaemonStatuses { daemonType } } } }",
            "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }",
        ):
            assert server.graphql(text)[0] == 200
            cut = "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            assert database.rows(f"{cut} AND datname = current_database()")[0]["n"] > 0
            assert server.graphql(text)[0] == 200
