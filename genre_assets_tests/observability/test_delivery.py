"""From a metric to people: the local services Prometheus and Alertmanager, over what the test says of the platform."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from genre_assets.settings import Settings, load_settings
from genre_assets.shipped.files import data_file
from genre_assets.stack.services.observability import Alertmanager, NodeExporter, Prometheus, how_to_install
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.observability.programs import program, run, scraped, value
from genre_assets_tests.observability.rules import ALERTS
from genre_assets_tests.observability.test_tellers import GRAFANAS
from genre_assets_tests.receiver import Receiver, receiving
from genre_assets_tests.waiting import until


class QuickPrometheus(Prometheus):
    """At a pace for tests: one alert does not wait before it fires (how long each does is tried in `test_rules.py`)."""

    def configuration(self) -> dict[str, Any]:
        content = super().configuration()
        (pattern,) = content["rule_files"]
        quick = self.folder / "quick"
        quick.mkdir(parents=True, exist_ok=True)
        for rules in Path(pattern).parent.glob("*.yml"):
            (quick / rules.name).write_text(re.sub(r"(DoorFull\n(?:.*\n){2}) +for: .*\n", r"\1", rules.read_text()))
        pace = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        return {**content, "rule_files": [f"{quick}/*.yml"], "global": pace}


class QuickAlertmanager(Alertmanager):
    """At a pace for tests."""

    def configuration(self) -> dict[str, Any]:
        content = super().configuration()
        return {**content, "route": {**content["route"], "group_wait": "2s", "group_interval": "1s"}}


class Platform:
    """What stands for the gateway: it tells what the test sets."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write("".join(f"{name} {v}\n" for name, v in platform.values.items()).encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def platform() -> Iterator[Platform]:
    made = Platform()
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as taking:
        yield taking


@pytest.fixture
def settings(platform: Platform, receiver: Receiver, tmp_path: Path) -> Settings:
    """Every target is the platform's stand-in."""
    for name in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
        program(name)
    port = platform.server.server_port
    ours = {name: free_port() for name in ("prometheus_port", "alertmanager_port", "node_exporter_port")}
    return load_settings(
        tmp_path, observability=True, alert_webhook=receiver.url, gateway_port=port, triton_metrics_port=port,
        triton_http_port=port, **ours,
    )  # fmt: skip


def told(receiver: Receiver, status: str) -> set[str]:
    """Names of the alerts that the webhook was told of."""
    return {
        alert["labels"]["alertname"]
        for message in receiver.got
        for alert in message["alerts"]
        if alert["status"] == status
    }


def test_an_alert_reaches_the_webhook_once_and_what_the_platform_tells_does_not(
    settings: Settings, platform: Platform, receiver: Receiver
) -> None:
    platform.values = {
        'genre_door_refused_total{reason="memory"}': 0, 'genre_drift_severity{property="feature_drift"}': 0,
        "genre_notifier_last_tick_timestamp_seconds": time.time(), "genre_notifier_channels": 1,
    }  # fmt: skip
    with ExitStack() as stack:
        for service in (QuickAlertmanager(settings), QuickPrometheus(settings)):
            stack.enter_context(running(service))
        page = f"http://127.0.0.1:{settings.prometheus_port}/metrics"
        until(
            lambda: (value(scraped(page), "prometheus_target_scrape_pool_targets", scrape_job="gateway") or 0) > 0,
            "it knows",
            30,
        )
        time.sleep(3)
        platform.values |= {
            'genre_door_refused_total{reason="memory"}': 3,
            'genre_drift_severity{property="feature_drift"}': 2,
        }
        until(lambda: "DoorFull" in told(receiver, "firing"), lambda: str(receiver.got), 40)
        assert told(receiver, "firing") == {"DoorFull"}, "drift is the platform's to tell, and its notifier lives"
        platform.values["genre_notifier_last_tick_timestamp_seconds"] = time.time() - 1000
        until(lambda: "DriftDetected" in told(receiver, "firing"), lambda: str(receiver.got), 40)
        assert "PlatformNotifies" not in told(receiver, "firing")
        platform.values['genre_drift_severity{property="feature_drift"}'] = 0
        until(lambda: "DriftDetected" in told(receiver, "resolved"), lambda: str(receiver.got), 40)
    (full,) = [m for m in receiver.got if m["groupLabels"]["alertname"] == "DoorFull" and m["status"] == "firing"]
    assert full["alerts"][0]["labels"]["severity"] == "warning"
    assert full["alerts"][0]["annotations"]["runbook_url"] == "docs/operations.md#doorfull"


def test_amtool_and_promtool_take_what_the_services_write(settings: Settings) -> None:
    for made, tool in ((Alertmanager(settings), "amtool"), (Prometheus(settings), "promtool")):
        made.prepare()
        (file,) = made.folder.glob("*.yml")
        assert file.stat().st_mode & 0o777 == 0o600
        check = ["check-config"] if tool == "amtool" else ["check", "config"]
        done = run(tool, *check, str(file))
        assert done.returncode == 0, done.stdout + done.stderr
    silent = Alertmanager(settings.model_copy(update={"alert_webhook": load_settings(settings.home).alert_webhook}))
    assert silent.configuration()["receivers"] == [{"name": "nobody"}, {"name": "webhook"}]


def test_the_routes_are_by_severity(settings: Settings) -> None:
    Alertmanager(settings).prepare()
    file = str(Alertmanager(settings).folder / "alertmanager.yml")
    for severity, receiver in (("critical", "webhook"), ("warning", "webhook"), ("none", "nobody")):
        done = run("amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}")
        assert done.stdout.strip() == receiver


def test_the_node_exporter_tells_of_the_disks(settings: Settings) -> None:
    with running(NodeExporter(settings)):
        text = scraped(f"127.0.0.1:{settings.node_exporter_port}")
    assert "node_filesystem_avail_bytes{" in text


def test_up_says_how_to_install_what_is_missing_before_it_starts_anything(tmp_path: Path) -> None:
    own = tmp_path / "bin"
    own.mkdir()
    for name in ("prometheus", "prometheus-alertmanager"):
        (own / name).symlink_to(shutil.which("true") or "/bin/true")
    command = str(Path(sys.executable).with_name("genre-assets"))
    environment = {**os.environ, "PATH": str(own), "GENRE_HOME": str(tmp_path / "home")}
    done = subprocess.run([command, "up", "--observability"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert how_to_install(["prometheus-node-exporter"]) in said
    assert "apt-get install -y --no-install-recommends prometheus-node-exporter" in said
    assert not (tmp_path / "home").exists()


def test_the_inhibitions_name_alerts_that_there_are() -> None:
    rules = yaml.safe_load(data_file("deploy/alertmanager/alertmanager.yml").read_text())["inhibit_rules"]
    for rule in rules:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, pattern = re.fullmatch(r'(\w+)=~?"(.*)"', matcher).groups()  # type: ignore[union-attr]
            if label == "alertname":
                for part in pattern.split("|"):
                    assert any(re.fullmatch(part, name) for name in (*ALERTS, *GRAFANAS)), part
