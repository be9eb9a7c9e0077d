"""Every rule fires when it must and is quiet when it may, by `promtool test rules`; what each says; where it says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets_tests.observability.programs import run
from genre_assets_tests.observability.rules import ALERTS, CASES, FILES, FOLDER, RECORDED, metrics_in

NOTIFIERS = {"PlatformNotifies", "SupervisorNotifies"}


def anchors(page: Path) -> set[str]:
    """Of its headings, as sites for Git show them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_rule_has_a_firing_and_a_quiet_case() -> None:
    assert CASES.keys() == ALERTS.keys()
    for name, case in CASES.items():
        assert case["quiet"] > 0, name
        assert case["fires"] != case["quiet"], name


@pytest.mark.parametrize("name", ALERTS)
def test_a_rule_says_how_bad_it_is_who_notifies_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["annotations"]["summary"]
    if name in NOTIFIERS:
        assert rule["labels"] == {"severity": "none"}
        return
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["labels"]["told_by"] in {"prometheus", "platform", "supervisor"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/operations.md"
    assert anchor == name.lower()
    assert anchor in anchors(PROJECT_ROOT / page)


def expected(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """What promtool must see of an alert that fires: its labels, and its annotations with them put in."""
    labels = case.get("labels", {})
    texts = {
        key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: str(labels[found[1]]), text)
        for key, text in ALERTS[name]["annotations"].items()
    }
    return {"exp_labels": {**labels, **ALERTS[name]["labels"]}, "exp_annotations": texts}


def unit_tests(cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The cases as promtool takes them."""
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case["series"].items()],
            "alert_rule_test": [
                {"alertname": name, "eval_time": f"{case['quiet']}m", "exp_alerts": []},
                {"alertname": name, "eval_time": f"{case['fires']}m", "exp_alerts": [expected(name, case)]},
            ],
        }
        for name, case in cases.items()
    ]
    return {"rule_files": [str(file) for file in FILES], "evaluation_interval": "1m", "tests": tests}


def promtool(cases: dict[str, dict[str, Any]], folder: Path) -> tuple[int, str]:
    (folder / "tests.yml").write_text(yaml.safe_dump(unit_tests(cases), sort_keys=False))
    done = run("promtool", "test", "rules", str(folder / "tests.yml"))
    return done.returncode, done.stdout + done.stderr


def test_promtool_sees_each_fire_and_be_quiet(tmp_path: Path) -> None:
    code, said = promtool(CASES, tmp_path)
    assert code == 0, said
    assert "SUCCESS" in said


def test_a_rule_that_would_not_fire_is_found(tmp_path: Path) -> None:
    case = {**CASES["LogDrops"], "series": {"genre_log_dropped_rows_total": "7x40"}}
    code, said = promtool({"LogDrops": case}, tmp_path)
    assert code != 0
    assert "LogDrops" in said


def test_promtool_takes_rules_and_configuration(tmp_path: Path) -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, FILES))
    assert done.returncode == 0, done.stdout + done.stderr
    text = (FOLDER / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/rules", str(FOLDER / "rules")))
    done = run("promtool", "check", "config", "--lint=all", "--lint-fatal", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(FILES)} rule files found" in done.stdout + done.stderr


def test_what_is_recorded_is_used() -> None:
    used = " ".join(rule["expr"] for rule in ALERTS.values())
    panels = " ".join(file.read_text() for file in (PROJECT_ROOT / "deploy/grafana/dashboards").glob("*.json"))
    assert [name for name in RECORDED if name not in used + panels] == []


def test_metrics_are_found_in_expressions() -> None:
    found = metrics_in('sum by (genre_label) (rate(genre_a_total{x="genre_b"}[5m])) / on (route) up{job="x"} == 1')
    assert found == {"genre_a_total", "up"}
