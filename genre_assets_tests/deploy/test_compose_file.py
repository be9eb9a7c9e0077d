"""What docker-compose.yaml promises, read from the file: limits, health, who knows which secret, which settings have effect."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from genre_assets.settings import Settings
from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets.stack.containers import contained, secrets_file
from genre_assets.triton import binary

COMPOSE = yaml.safe_load(secrets_file.COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"volumes", "init", "client"}
DAGSTER = ("dagster-code", "dagster", "dagster-daemon")
DOCKERFILE = (PROJECT_ROOT / "deploy" / "images" / "platform.Dockerfile").read_text().replace("\\\n", " ")
SECRETS_OF = {
    "volumes": set(),
    "client": set(),
    "proxy": set(),
    "prometheus": set(),
    "node-exporter": set(),
    "postgres-exporter": {"GENRE_READER_DATABASE_PASSWORD"},
    "localstack": set(),
    "s3": {"GENRE_S3_SECRET_KEY"},
    "postgres": {"GENRE_POSTGRES_PASSWORD"},
    "mlflow": {"GENRE_S3_SECRET_KEY", "GENRE_MLFLOW_DATABASE_PASSWORD"},
    "triton": {
        "GENRE_S3_SECRET_KEY",
        "GENRE_APPENDER_DATABASE_PASSWORD",
        "GENRE_TRITON_ADMIN_TOKEN",
        "GENRE_TRITON_DOOR_KEY",
    },
    "triton-door": {"GENRE_TRITON_DOOR_KEY"},
    "grafana": {"GENRE_GRAFANA_PASSWORD", "GENRE_READER_DATABASE_PASSWORD"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is (name != "localstack")
    assert service["init"] is True
    assert {"mem_limit", "cpus", "pids_limit", "stop_grace_period"} <= service.keys()
    assert service["logging"]["options"] == {"max-size": "20m", "max-file": "3"}
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service.get("healthcheck", {}).get("disable", False) is (name in ONE_SHOT)
    if name not in ONE_SHOT:
        assert service["healthcheck"]["test"][0] == "CMD"
    if name != "localstack":  # whose image wants root inside
        assert re.fullmatch(r"\d+:\d+", service["user"])
    assert (service["user"] == "0:0" if name == "volumes" else True) is True
    needed = {"volumes": {"CHOWN", "DAC_READ_SEARCH"}, "proxy": {"NET_BIND_SERVICE"}}
    assert set(service.get("cap_add", [])) == needed.get(name, set())


def test_only_the_proxy_may_publish_beyond_this_machine() -> None:
    """And by default it does not either, and is not there."""
    for name, service in SERVICES.items():
        where = "${GENRE_PROXY_ADDRESS:-127.0.0.1}:" if name == "proxy" else "127.0.0.1:"
        assert all(published.startswith(where) for published in service.get("ports", [])), name
    assert SERVICES["proxy"]["profiles"] == ["proxy"]
    caddyfile = (PROJECT_ROOT / "deploy" / "proxy" / "Caddyfile").read_text()
    inside = {*re.findall(r"_PORT:(\d+)", caddyfile)}
    assert {published.rpartition(":")[2] for published in SERVICES["proxy"]["ports"]} == inside
    for service, port in re.findall(r":(\w+):(\d+)\}", caddyfile):
        assert f"127.0.0.1:{port}:{port}" in SERVICES[service]["ports"], "it asks where the service listens"


@pytest.mark.parametrize("name", SERVICES)
def test_what_waits_for_another_waits_until_it_is_well_or_done(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == wanted, other


@pytest.mark.parametrize("name", SECRETS_OF)
def test_a_service_is_told_the_secrets_that_it_needs_and_no_other(name: str) -> None:
    service = SERVICES[name]
    assert "env_file" not in service
    said = " ".join(str(value) for value in (service.get("environment") or {}).values())
    assert {secret for secret in secrets_file.MADE if f"${{{secret}" in said} == SECRETS_OF[name]
    assert not any("ALERT" in variable for variable in service.get("environment") or {})


@pytest.mark.parametrize("name", DAGSTER)
def test_dagster_is_not_told_who_rules_the_server_nor_the_readers_password(name: str) -> None:
    environment = SERVICES[name]["environment"]
    for hidden in (
        "GENRE_POSTGRES_PASSWORD", "GENRE_POSTGRES_ADMIN_URL", "GENRE_READER_DATABASE_PASSWORD",
        "GENRE_READER_DATABASE_URL", "GENRE_GRAFANA_PASSWORD", "GENRE_APPENDER_DATABASE_PASSWORD", "GENRE_APPENDER_DATABASE_URL",
    ):  # fmt: skip
        assert environment[hidden] == ""


def test_the_processes_of_dagster_have_the_same_settings() -> None:
    first, *others = (SERVICES[name]["environment"] for name in DAGSTER)
    assert all(other == first for other in others)
    known = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    emptied = {f"GENRE_{name}_PASSWORD" for name in ("POSTGRES", "READER_DATABASE", "APPENDER_DATABASE", "GRAFANA")}
    assert {variable for variable in first if variable.startswith("GENRE_")} - known == emptied


def test_every_documented_setting_has_effect_or_is_left_out_of_the_file() -> None:
    """All are in `.env`, which Dagster's processes read whole; what the compose file says on top names the variable again."""
    written = secrets_file.new_environment()
    offered = set(re.findall(r"^(?:# )?((?:GENRE|COMPOSE)_[A-Z0-9_]+)=", written, re.MULTILINE))
    assert all(SERVICES[name]["env_file"] == [".env"] for name in DAGSTER)
    emptied = {name for name, value in SERVICES["dagster"]["environment"].items() if value == ""}
    text = secrets_file.COMPOSE.read_text()
    for name in offered:
        for service in SERVICES.values():
            value = (service.get("environment") or {}).get(name)
            assert value is None or name in str(value) or name in emptied, name
        assert name not in emptied or f"${{{name}" in text, name
    fields = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    ours = {n for n in fields if n.endswith("_PORT")} | {"GENRE_PORT_OFFSET"}
    assert fields - offered == ours | (secrets_file.fixed(text) & fields) | {"GENRE_HOME"}


def test_what_the_models_and_the_door_read_of_the_settings_reaches_them() -> None:
    sources = [
        *(PROJECT_ROOT / "triton_models").rglob("model.py"),
        *(PROJECT_ROOT / "genre_assets/inference").glob("*.py"),
    ]
    read = set(re.findall(r"\bsettings\.(\w+)", " ".join(path.read_text() for path in sources)))
    read = {"serving_allowed_buckets" if name == "allowed_buckets" else name for name in read}
    read = {"serving_extractors" if name == "extractors" else name for name in read} - {"home"}
    read = {
        "appender_database_url" if name == "database_url" else name for name in read
    }  # what its service makes of it
    assert "spool_max_mb" in read
    assert {f"GENRE_{name.upper()}" for name in read} <= SERVICES["triton"]["environment"].keys()
    door = (PROJECT_ROOT / "genre_assets/triton/door/__main__.py").read_text()
    named = {f"GENRE_{name.upper()}" for name in re.findall(r"\bsettings\.(\w+)", door)}
    assert named <= SERVICES["triton-door"]["environment"].keys()


def test_only_the_door_is_reached_and_only_it_is_asked() -> None:
    assert "ports" not in SERVICES["triton"]
    assert SERVICES["triton"]["networks"] == ["data"]
    assert SERVICES["triton-door"]["ports"] == ["127.0.0.1:8000:8000", "127.0.0.1:8001:8001"]
    scraped = yaml.safe_load((PROJECT_ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scraped}
    for asking in ("triton-door", "client", *DAGSTER):
        environment = SERVICES[asking]["environment"]
        assert environment["GENRE_TRITON_GRPC"] == "triton-door:8001"
        assert targets["triton-door"] == [environment["GENRE_TRITON_HTTP"]]
    assert SERVICES["triton-door"]["environment"]["GENRE_TRITON_INNER_HTTP"] == "triton:8000"


def test_prometheus_asks_services_that_there_are_at_their_ports_and_only_alertmanager_is_told_the_webhook() -> None:
    content = yaml.safe_load((PROJECT_ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in content["scrape_configs"]}
    assert content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == [jobs["alertmanager"]]
    for target in {*jobs.values()} - {"localhost:9090"}:
        assert target.partition(":")[0] in SERVICES
    assert {"GENRE_GATEWAY_URL": f"http://{jobs['gateway']}"}.items() <= SERVICES["gateway"]["environment"].items()
    triton = SERVICES["triton"]["environment"]
    assert jobs["triton"] == f"triton:{triton['GENRE_TRITON_METRICS_PORT']}"
    observing = {name for name, service in SERVICES.items() if service.get("profiles") == ["observability"]}
    assert observing == {"prometheus", "alertmanager", "node-exporter", "postgres-exporter", "grafana"}
    told = {name for name, service in SERVICES.items() if "GENRE_ALERT_WEBHOOK" in (service.get("environment") or {})}
    assert told == {"alertmanager"}
    assert "url_file: /tmp/webhook" in (PROJECT_ROOT / "deploy/alertmanager/alertmanager.yml").read_text()


def test_what_holds_data_cannot_be_reached_from_outside_nor_reach_out() -> None:
    assert COMPOSE["networks"]["data"]["internal"] == "${GENRE_DATA_INTERNAL:-true}"
    for name in ("postgres", "init", "dagster-daemon"):
        assert SERVICES[name]["networks"] == ["data"]
        assert "ports" not in SERVICES[name]


def test_each_service_of_ours_is_kept_as_in_the_local_stack() -> None:
    ours = {kept.name for kept in contained.KEPT}
    started = ["python", "-m", "genre_assets.stack.containers"]
    for name in ours:
        assert SERVICES[name]["command"] == [*started, name]
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", *started, name, "--health"]
    assert SERVICES["init"]["command"] == [*started, "init"]


def test_the_images_are_of_one_lock_and_the_server_is_the_release_that_is_tested_here() -> None:
    installs = re.findall(r"uv sync [^&\n]*", DOCKERFILE)
    platform, keeper = [i for i in installs if "keeper" not in i], [i for i in installs if "keeper" in i]
    assert len(platform) == 1
    for install in platform:
        assert "--frozen" in install
        assert "--no-default-groups --group packing" in install
        assert "--extra k8s" in install
    assert ["--frozen --only-group keeper" in install for install in keeper] == [True]
    assert f"FROM nvcr.io/nvidia/tritonserver:{binary.TRITON_RELEASE}-py3 AS triton\n" in DOCKERFILE
    assert [SERVICES[name]["build"]["target"] for name in ("triton", "dagster")] == ["triton", "platform"]
    assert DOCKERFILE.count("USER 10001:10001") == 2
    (uv,) = set(re.findall(r"ghcr.io/astral-sh/uv:(\S+)", DOCKERFILE))
    assert f'name = "uv"\nversion = "{uv}"' in (PROJECT_ROOT / "uv.lock").read_text()


def test_nothing_but_what_is_named_gets_into_an_image() -> None:
    everything, *named = [
        line for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    copied = {word for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert {line[1:] for line in named if line.startswith("!")} == copied


def test_compose_takes_the_file_and_stops_without_secrets(tmp_path: Path) -> None:
    if (
        subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
        if shutil.which("docker")
        else 1
    ):
        pytest.skip("`docker compose` is not installed here; genre_assets_tests/compose brings its own")
    shutil.copy(secrets_file.COMPOSE, tmp_path)
    config = ["docker", "compose", "--project-directory", str(tmp_path), "config", "-q"]
    assert subprocess.run(config, capture_output=True).returncode != 0
    secrets_file.write(tmp_path / ".env", secrets_file.new_environment())
    done = subprocess.run(config, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
