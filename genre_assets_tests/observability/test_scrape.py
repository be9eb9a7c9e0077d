"""A real Prometheus over the real services: every metric that a rule or a panel names is there, and every query is answered."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from genre_assets.serving.alerts import beats
from genre_assets.serving.promotion import route_state
from genre_assets.stack.services.observability import NodeExporter
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.gateway.conftest import gateway
from genre_assets_tests.observability.panels import named
from genre_assets_tests.observability.programs import check_names, program, scraped
from genre_assets_tests.observability.rules import ALERTS, RECORDED, metrics_in
from genre_assets_tests.observability.test_delivery import QuickPrometheus
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack
# What this test's services have nothing of: no certificate, no evaluated window, nothing that waits, no supervisor. The
# exporter's own tests show each.
ELSEWHERE = {
    "genre_certificate_valid", "genre_certificate_not_after_timestamp_seconds", "genre_drift_p_value",
    "genre_drift_window_closed_timestamp_seconds", "genre_drift_severity", "genre_window_waiting_timestamp_seconds",
    "genre_service_healthy", "genre_service_restarts_total", "genre_supervisor_last_look_timestamp_seconds",
    "genre_supervisor_channels",
}  # fmt: skip


class Asked:
    """Prometheus' own interface."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            content = json.loads(answer.read())
        assert content["status"] == "success"
        return content["data"]

    def value(self, expression: str) -> list[Any]:
        return list(self.get("query", query=expression)["result"])


@pytest.fixture(scope="module")
def prometheus(live: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """It scrapes Triton, its door, the gateway and the machine; requests were answered, and one was not."""
    for name in ("prometheus", "prometheus-node-exporter"):
        program(name)
    home = tmp_path_factory.mktemp("prometheus")
    live.serve("champion")  # others share the server, and leave it as they please
    booked = live.database.rows("SELECT id FROM route_state")
    route_state.confirm(live.database, "champion", actor="build", reason="first")
    beats.keep(live.database, {"drift": beats.Ticks(datetime.now(UTC), 0)}, now=datetime.now(UTC), channels=1)
    with ExitStack() as stack:
        address = stack.enter_context(gateway(live.settings, home / "gateway"))
        ports = {name: free_port() for name in ("prometheus_port", "node_exporter_port", "alertmanager_port")}
        settings = live.settings.model_copy(
            update={"home": home, "gateway_port": int(address.rpartition(":")[2]), **ports}
        )
        stack.enter_context(running(NodeExporter(settings)))
        stack.enter_context(running(QuickPrometheus(settings)))
        asked = Asked(f"127.0.0.1:{ports['prometheus_port']}")
        until(lambda: len(asked.value("up == 1")) == 5, lambda: str(asked.value("up")), 60)

        def recorded() -> bool:  # a series that begins with its first answer has no rate until the next
            live.client.predict([clip(1), b"rubbish" * 99])
            first = ("genre:predictions:rate5m", "genre:availability:ratio5m", "genre:request_seconds:p50_5m")
            return all(asked.value(f"{name} > 0") for name in first)  # of Triton and of its door, scraped apart

        until(recorded, "answers were counted and recorded", 60, pause=1.0)
        yield asked
    live.database.execute("DELETE FROM automation_beats")
    if not booked:  # other tests share the database
        live.database.execute("DELETE FROM route_state")


def test_every_metric_of_rules_and_panels_is_exposed(prometheus: Asked) -> None:
    expressions = [*(rule["expr"] for rule in ALERTS.values()), *RECORDED.values(), *named("expr").values()]
    wanted = {metric for expression in expressions for metric in metrics_in(expression)}
    assert len(wanted) > 40

    def missing() -> list[str]:
        return sorted(wanted - set(prometheus.get("label/__name__/values")) - ELSEWHERE)

    until(
        lambda: not missing(), lambda: f"not exposed: {missing()}", 60
    )  # rows reach the database a moment after the answer
    assert wanted | {"genre_drift_severity"} >= ELSEWHERE, "what is left out is named somewhere"


def test_prometheus_answers_every_expression(prometheus: Asked) -> None:
    for name, expression in named("expr").items():
        assert isinstance(prometheus.value(expression), list), name
    (served,) = prometheus.value("genre:availability:ratio5m")
    assert float(served["value"][1]) == 1.0
    (half,) = prometheus.value("genre:request_seconds:p50_5m")
    assert 0 < float(half["value"][1]) < 30
    assert [entry["metric"]["route"] for entry in prometheus.value("genre_triton_route == 1")] == ["champion"]
    firing = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}
    assert firing <= {"PlatformNotifies", "TargetDown", "DiskFills", "LogStands"}, "a stack that is well"


def test_every_rule_is_evaluated_without_an_error(prometheus: Asked) -> None:
    def settled() -> bool:
        groups = prometheus.get("rules")["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    until(settled, lambda: str(prometheus.get("rules")), 30)


def test_the_names_of_tritons_custom_metrics_are_after_the_rules(live: LiveStack, prometheus: Asked) -> None:
    text = scraped(live.settings.triton_metrics)
    check_names(text)
    assert re.search(r'reason="not_found",?} \d', text), "from the start, whether there was one or not"
    assert prometheus.value('genre_item_errors_total{reason="undecodable"} > 0')
