"""A service as its container keeps it: by the command of docker-compose.yaml, over real services, stopped as Docker stops it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from genre_assets.processes import children
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.containers import contained, secrets_file
from genre_assets.stack.services.postgres import Postgres
from genre_assets.triton import binary
from genre_assets.triton.control import TritonControl
from genre_assets_tests.conftest import free_port
from genre_assets_tests.waiting import until

COMMAND = [sys.executable, "-m", "genre_assets.stack.containers"]
FORBIDDEN = (
    "numpy", "pandas", "boto3", "botocore", "dagster", "mlflow", "grpc", "psycopg2", "sqlalchemy", "alembic", "typer", "rich",
    "apprise", "yaml", "google", "tritonclient", "aiohttp", "prometheus_client", "onnx", "sklearn", "scipy", "av", "soundfile",
)  # fmt: skip


def environment(home: Path, **given: str) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    return {**outside, "GENRE_HOME": str(home), "GENRE_HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1", **given}


@pytest.fixture
def triton(tmp_path: Path) -> dict[str, str]:
    http, grpc, metrics = free_port(), free_port(), free_port()
    return environment(
        tmp_path / "home",
        GENRE_TRITON_REPOSITORY=str(tmp_path / "models" / "repository"),
        GENRE_TRITON_INNER_HTTP=f"127.0.0.1:{http}", GENRE_TRITON_INNER_HTTP_PORT=str(http),
        GENRE_TRITON_INNER_GRPC=f"127.0.0.1:{grpc}", GENRE_TRITON_INNER_GRPC_PORT=str(grpc),
        GENRE_TRITON_METRICS_PORT=str(metrics), GENRE_TRITON_ADMIN_TOKEN="the-token", GENRE_TRITON_DOOR_KEY="the-key",
    )  # fmt: skip


def servers_of(kept: subprocess.Popen[bytes]) -> list[int]:
    return [pid for pid, _, arguments in children(kept.pid) if "tritonserver" in arguments]


def test_triton_is_kept_and_stopped_with_its_container(triton: dict[str, str], tmp_path: Path) -> None:
    control = TritonControl(triton["GENRE_TRITON_INNER_HTTP"], "the-token")
    asked = [*COMMAND, "triton", "--health"]
    with (tmp_path / "log").open("w") as log:
        kept = subprocess.Popen([*COMMAND, "triton"], env=triton, stdout=log, stderr=log)
        try:
            until(control.live, "the server answers", 60)
            assert subprocess.run(asked, env=triton).returncode == 0
            (server,) = servers_of(kept)
            os.kill(server, signal.SIGKILL)
            # not "until it does not answer": a busy machine may look only after the next one answers
            until(lambda: servers_of(kept) not in ([], [server]), "another server runs", 60)
            until(control.live, "it answers", 60)
            kept.send_signal(signal.SIGTERM)
            assert kept.wait(40) == 0
        finally:
            kept.kill()
            kept.wait()
    assert not control.live()
    assert subprocess.run(asked, env=triton, stdout=subprocess.DEVNULL).returncode == 1
    said = (tmp_path / "log").read_text()
    assert "keeper: triton is restarting: the process ended with -9" in said
    assert "Started GRPCInferenceService" in said, "the server's own lines are the container's log"


def test_a_service_that_cannot_be_started_ends_its_container(triton: dict[str, str]) -> None:
    port = int(triton["GENRE_TRITON_METRICS_PORT"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        began = time.monotonic()
        done = subprocess.run([*COMMAND, "triton"], env=triton, capture_output=True, text=True, timeout=60)
        assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert f"keeper: triton is failed: port {port}" in done.stdout


def test_a_service_waits_for_what_it_needs_at_the_address_that_it_is_told(tmp_path: Path) -> None:
    told = yaml.safe_load(secrets_file.COMPOSE.read_text())["services"]["mlflow"]["environment"]
    nobody = {
        "GENRE_MLFLOW_DATABASE_URL": "postgresql://m:m@127.0.0.1:9/m",
        "GENRE_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    assert nobody.keys() <= told.keys()
    kept = subprocess.Popen(
        [*COMMAND, "mlflow"], env=environment(tmp_path, **nobody), stdout=subprocess.PIPE, text=True
    )
    assert kept.stdout is not None
    with kept.stdout:
        assert kept.stdout.readline() == "keeper: mlflow waits for postgres\n"
        kept.terminate()
        assert kept.wait(30) == 0


def test_what_a_service_needs_is_looked_for_where_the_compose_file_says(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url("postgres").replace("postgresql:", "postgresql+psycopg2:")
    settings = load_settings(tmp_path, mlflow_database_url=url, dagster_database_url=url, s3_endpoint_url=None)
    for name in ("mlflow", "dagster-code"):
        service = contained.service(name, settings)
        assert all(contained.answers(contained.address(need, service)) for need in service.needs)
    for kept in contained.KEPT:
        for need in kept.needs:
            contained.address(need, contained.service(kept.name, settings))


def test_there_is_no_other_service(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "postgres"], env=environment(tmp_path), capture_output=True, text=True)
    assert (done.returncode, "there is no service 'postgres' in a container of ours" in done.stderr) == (1, True)


def test_the_keeper_of_triton_runs_on_what_is_installed_beside_the_server() -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from genre_assets.settings import load_settings
from genre_assets.stack.containers import contained
service = contained.service('triton', load_settings())
service.prepare()
print(service.health().why, service.cleanup())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "does not answer" in done.stdout


def test_in_nvidias_image_its_own_server_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "bin" / "tritonserver"
    server.parent.mkdir()
    server.touch()
    monkeypatch.setattr(binary, "IMAGE", tmp_path)
    assert binary.stage_backends(tmp_path / "staged") == tmp_path / "staged", "the wheel is here, and is taken"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    service = contained.service("triton", Settings(home=tmp_path, host="0.0.0.0", triton_inner_http_port=8000))
    assert service.command()[0] == str(server)
    assert f"--backend-directory={tmp_path / 'backends'}" in service.command()
    assert "--http-address=0.0.0.0" in service.command()
    assert "LD_LIBRARY_PATH" not in service.environment()


def test_status_asks_services_elsewhere_at_their_addresses(
    tmp_path: Path, postgres: Postgres, brought_up: str, s3_settings: Settings
) -> None:
    given = environment(
        tmp_path,
        GENRE_DATABASE_URL=postgres.url(brought_up),
        GENRE_S3_ENDPOINT_URL=str(s3_settings.s3_endpoint_url),
        GENRE_S3_SECRET_KEY=s3_settings.s3_secret_key.get_secret_value(),
        GENRE_DAGSTER_URL="http://127.0.0.1:9",
        GENRE_TRITON_GRPC="127.0.0.1:9",
        GENRE_TRITON_HTTP="127.0.0.1:9",
    )
    command = [str(Path(sys.executable).with_name("genre-assets")), "status"]
    done = subprocess.run([*command, "--json"], env=given, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    services = json.loads(done.stdout)["services"]
    lights = {name: service["light"] for name, service in services.items()}
    assert lights == {
        "s3": "healthy", "postgres": "healthy", "mlflow": "unknown", "triton": "unknown", "triton-door": "unhealthy",
        "dagster-code": "unknown", "dagster": "unhealthy", "dagster-daemon": "unhealthy",
    }  # fmt: skip
    assert services["mlflow"]["why"] == "GENRE_MLFLOW_URL is not stated"
    shown = subprocess.run(command, env={**given, "COLUMNS": "200"}, capture_output=True, text=True)
    assert "127.0.0.1:9/server_info does not answer" in shown.stdout
