"""Each alert has one teller, by docs/observability.md: names there are those of the rules, of Grafana and of the platform."""

import re
from pathlib import Path
from typing import Any

import yaml

from genre_assets.serving.alerts import sources
from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets.stack.supervision import notifier
from genre_assets_tests.observability.panels import GRAFANA
from genre_assets_tests.observability.rules import ALERTS
from genre_assets_tests.observability.test_rules import NOTIFIERS, anchors

PAGE = (PROJECT_ROOT / "docs" / "observability.md").read_text()
ROW = re.compile(r"^\| (?:`(\w+)`)? ?\| (\w+) \| (.*?) \| (?:`([\w:*]+)`)? ?\| (\w+) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
PROVISIONED: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "all.yaml").read_text())
GRAFANAS = {rule["title"]: rule for group in PROVISIONED["groups"] for rule in group["rules"]}


def own_keys() -> set[str]:
    """The keys by which the platform and the supervisor report; what follows a colon may be a name."""
    said = " ".join(Path(module.__file__ or "").read_text() for module in (sources, notifier))
    fixed = set(re.findall(r'"((?:stale|log|serving|capture):\w+)"', said)) - sources.FORMER_KEYS.keys()
    named = {f"{kind}:*" for kind in re.findall(r'f"(check|run|sensor|service|restarts):\{', said)}
    return fixed | named | {sources.ROUTE_KEY, sources.TRITON_KEY, sources.RETRAINING_KEY, sources.S3_KEY}


def test_the_table_has_every_alert_once_with_its_severity_and_its_teller() -> None:
    told = [(name, severity, teller) for name, severity, _, _, teller in ROWS if name]
    rules = {name: rule for name, rule in {**ALERTS, **GRAFANAS}.items() if name not in NOTIFIERS}
    wanted = [(name, rule["labels"]["severity"], rule["labels"]["told_by"]) for name, rule in rules.items()]
    assert sorted(told) == sorted(wanted)


def test_nothing_of_the_platforms_own_is_forgotten_or_stands_twice() -> None:
    keys = [key for _, _, _, key, _ in ROWS if key]
    assert sorted(keys) == sorted(own_keys())
    assert {"s3", "check:*", "log:backlog", "service:*"} <= own_keys()


def test_what_prometheus_tells_by_itself_nobody_else_reports() -> None:
    assert [name for name, _, _, key, teller in ROWS if key and teller in {"prometheus", "grafana"}] == []


def test_grafanas_alerts_say_what_to_do_and_go_to_alertmanager_alone() -> None:
    (point,) = PROVISIONED["contactPoints"]
    (policy,) = PROVISIONED["policies"]
    assert [receiver["type"] for receiver in point["receivers"]] == ["prometheus-alertmanager"]
    assert policy["receiver"] == point["name"]
    for rule in GRAFANAS.values():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert anchor in anchors(PROJECT_ROOT / page)
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
