"""What the gateway tells Prometheus: each fact as it is in the database, and nothing of what is not known."""

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.gateway.exporter import certificates
from genre_assets.gateway.exporter.collector import PlatformFacts
from genre_assets.inference import request_log
from genre_assets.serving.alerts import beats
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Finding
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore
from genre_assets_tests.gateway.conftest import gateway
from genre_assets_tests.observability.programs import check_names, names, scraped, value
from genre_assets_tests.serving.drift.data import START, log_rows

RULES = Rules(size=16, minimum=8, longest=timedelta(hours=1))
ALWAYS = {"genre_source_up", "genre_drift_severity", "genre_alerts_open", "genre_alert_messages"}


@pytest.fixture
def facts(database: Database, store: ObjectStore, s3_settings: Settings, tmp_path: Path) -> PlatformFacts:
    """The exporter over empty tables, an empty bucket, and a Triton that is away; it asks anew each time."""
    settings = s3_settings.model_copy(
        update={"home": tmp_path, "database_url": database.url, "triton_http": "127.0.0.1:9"}
    )
    return PlatformFacts(settings, database, store)


def text(facts: PlatformFacts) -> str:
    facts._kept = (float("-inf"), [])
    return facts.text().decode()


def ours(said: str) -> set[str]:
    return {name for name in names(said) if name.startswith("genre_") and "gateway" not in name}


def test_of_an_empty_platform_nothing_is_said_but_that_it_is_empty(facts: PlatformFacts) -> None:
    said = text(facts)
    check_names(said)
    assert ours(said) == ALWAYS - {"genre_drift_severity"}
    sources = {"database": 1.0, "object_store": 1.0, "triton": 0.0}
    assert {name: value(said, "genre_source_up", source=name) for name in sources} == sources
    for severity in ("info", "warning", "error"):
        assert value(said, "genre_alerts_open", severity=severity) == 0


def history(database: Database, store: ObjectStore, bucket: str) -> None:
    """A release, a route, two judged windows and items after them, an open alert, sensors that have ticked."""
    identifier = "0123456789abcdef"
    manifest = {
        "spec": {"champion": 3, "fallback": 4},
        "versions": {"3": {"family": "vote"}, "4": {"family": "linear"}},
    }
    store.put_bytes(bucket, keys.CURRENT_RELEASE, json.dumps({"id": identifier}).encode())
    store.put_bytes(bucket, keys.release(identifier), json.dumps(manifest).encode())
    route_state.confirm(database, "champion", actor="build", reason="first")
    route_state.confirm(database, "fallback", actor="person", reason="to see", pinned=True)
    request_log.insert(database, log_rows(40))
    first, second = window_store.cut(database, RULES, START + timedelta(minutes=5))
    for window, level, p in ((first, Level.DETECTED, 0.002), (second, Level.INCONCLUSIVE, None)):
        drift = Finding(level, "said", {} if p is None else {"p_value": p})
        found = {"feature_drift": drift, "latency": Finding(Level.SUSPECTED, "slow")}
        window_store.save_result(database, window.id, level=level, reason="", reference_version=1, findings=found)
    Alerts(database, [], repeat=timedelta(hours=1)).report("route", "the fallback serves", "b", severity="warning")
    ticks = {"drift": beats.Ticks(START, 2), "off": beats.Ticks(START, 0, on=False)}
    beats.keep(database, ticks, now=START + timedelta(seconds=7), channels=2)


def test_every_fact_is_as_the_database_and_the_release_have_it(
    facts: PlatformFacts, database: Database, store: ObjectStore
) -> None:
    history(database, store, facts.settings.serving_bucket)
    said = text(facts)
    check_names(said)
    expected = {
        ("genre_route", (("route", "champion"),)): 0.0,
        ("genre_route", (("route", "fallback"),)): 1.0,
        ("genre_route_pinned", ()): 1.0,
        ("genre_model_info", (("route", "champion"), ("family", "vote"), ("version", "3"))): 1.0,
        ("genre_model_info", (("route", "fallback"), ("family", "linear"), ("version", "4"))): 1.0,
        ("genre_drift_severity", (("property", "feature_drift"),)): 2.0,
        ("genre_drift_severity", (("property", "latency"),)): 1.0,
        ("genre_drift_p_value", ()): 0.002,
        ("genre_drift_window_closed_timestamp_seconds", ()): (START + timedelta(seconds=1.5)).timestamp(),
        ("genre_last_answer_timestamp_seconds", ()): (START + timedelta(seconds=3.9)).timestamp(),
        ("genre_unjudged_timestamp_seconds", ()): (START + timedelta(seconds=1.6)).timestamp(),
        ("genre_alerts_open", (("severity", "warning"),)): 1.0,
        ("genre_alert_messages", (("state", "waiting"),)): 0.0,
        ("genre_sensor_last_tick_timestamp_seconds", (("sensor", "drift"),)): START.timestamp(),
        ("genre_sensor_failed_ticks", (("sensor", "drift"),)): 2.0,
        ("genre_sensor_failed_ticks", (("sensor", "off"),)): None,
        ("genre_notifier_last_tick_timestamp_seconds", ()): (START + timedelta(seconds=7)).timestamp(),
        ("genre_notifier_channels", ()): 2.0,
        ("genre_window_waiting_timestamp_seconds", ()): None,
        ("genre_retraining_requested_timestamp_seconds", ()): None,
        ("genre_triton_route", (("route", "champion"),)): None,
    }
    assert {(n, labels): value(said, n, **dict(labels)) for n, labels in expected} == pytest.approx(expected)


def test_a_source_that_is_away_takes_only_its_own_facts_away(facts: PlatformFacts, database: Database) -> None:
    route_state.confirm(database, "champion", actor="build", reason="first")
    assert value(text(facts), "genre_route", route="champion") == 1
    facts.database = Database("postgresql://nobody:x@127.0.0.1:9/none")
    said = text(facts)
    assert value(said, "genre_source_up", source="database") == 0
    assert value(said, "genre_source_up", source="object_store") == 1
    assert ours(said) == {"genre_source_up"}


def test_how_services_stand_is_told_where_a_supervisor_keeps_them(facts: PlatformFacts) -> None:
    (facts.settings.home / "run").mkdir()
    standing = {"state": "healthy", "why": "", "restarts": 3}
    services = {"triton": standing, "s3": {**standing, "state": "failed"}, "mlflow": {**standing, "state": "unknown"}}
    state = {"pid": 1, "looked_at": 1764400000.5, "services": services}
    (facts.settings.home / "run" / "state.json").write_text(json.dumps(state))
    said = text(facts)
    check_names(said)
    told = {name: value(said, "genre_service_healthy", service=name) for name in services}
    assert told == {"triton": 1.0, "s3": 0.0, "mlflow": None}
    assert value(said, "genre_service_restarts_total", service="triton") == 3
    assert value(said, "genre_supervisor_last_look_timestamp_seconds") == 1764400000.5
    assert value(said, "genre_supervisor_channels") == 0


def test_the_gateway_serves_them_to_prometheus(
    database: Database, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    history(database, store, s3_settings.serving_bucket)
    settings = s3_settings.model_copy(update={"database_url": database.url, "triton_http": "127.0.0.1:9"})
    with gateway(settings, tmp_path / "gateway") as address:
        said = scraped(f"{address}/v1/metrics")
    check_names(said)
    assert value(said, "genre_route", route="fallback") == 1
    assert value(said, "genre_drift_p_value") == 0.002
    assert "process_resident_memory_bytes" in names(said)


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose certificate, of an authority of its own, is good for three days."""
    made = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate"),
    ]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(1)
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"https://localhost:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_certificates_are_seen_as_browsers_see_them(
    https: str, facts: PlatformFacts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load_settings(tmp_path, gateway_public_url=f"{https}/", mlflow_public_url="https://127.0.0.1:9")
    facts.settings = settings.model_copy(update={"serving_bucket": facts.settings.serving_bucket})
    assert certificates.addresses(settings) == ["https://127.0.0.1:9", https]
    said = text(facts)
    assert value(said, "genre_certificate_valid", address=https) == 0, "nobody trusts it"
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(tmp_path / "certificate"))
    facts._certificates = (float("-inf"), [])
    said = text(facts)
    check_names(said)
    assert value(said, "genre_certificate_valid", address=https) == 1
    end = value(said, "genre_certificate_not_after_timestamp_seconds", address=https) or 0
    assert end - time.time() == pytest.approx(timedelta(days=3).total_seconds(), abs=600)
    assert value(said, "genre_certificate_valid", address="https://127.0.0.1:9") is None, "nobody knows"
