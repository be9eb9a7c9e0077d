"""The dashboards are what is said in scripts/grafana_dashboards.py; each query is one that PostgreSQL or Prometheus takes."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Finding
from genre_assets.serving.promotion import route_state
from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets_tests.gateway.test_exporter import RULES
from genre_assets_tests.observability.panels import DASHBOARDS, FILES, GRAFANA, as_grafana_sends, named
from genre_assets_tests.observability.programs import run
from genre_assets_tests.serving.drift.data import log_rows

# Of tables in which this test's history has no row.
EMPTY = {"Labels given by people", "Alerts", "Asked for: training again", "Recordings by label",
         "Labelled clips on their way into the training data", "Accuracy of labelled windows"}  # fmt: skip


def test_generating_them_again_changes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(PROJECT_ROOT / "scripts" / "grafana_dashboards.py"), str(tmp_path)], check=True)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_text() for file in FILES}
    assert set(DASHBOARDS) == {"service", "models", "drift", "pipeline"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_sdk_reads_each_and_writes_it_again_as_it_is(name: str) -> None:
    register_default_plugins()
    read = Dashboard.from_json(DASHBOARDS[name])
    assert json.loads(JSONEncoder().encode(read)) == DASHBOARDS[name]


def test_every_panel_has_its_place_and_a_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "all.yaml").read_text())["datasources"]
    known = {source["uid"]: source["type"] for source in provisioned}
    for content in DASHBOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in content["panels"]:
            assert known[panel["datasource"]["uid"]] == panel["datasource"]["type"]
            place = panel["gridPos"]
            cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells
        assert "Route changes" in {note["name"] for note in content["annotations"]["list"]}
        assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])


@pytest.fixture
def history(database: Database) -> Database:
    """Half an hour ago: a route that moved, forty answers, a judged window."""
    start = datetime.now(UTC) - timedelta(minutes=30)
    route_state.confirm(database, "champion", actor="build", reason="first")
    route_state.confirm(database, "fallback", actor="person", reason="to see")
    request_log.insert(database, log_rows(40, start=start))
    for window in window_store.cut(database, RULES):
        values = {"p_value": 0.2, "features": [{"name": "tempo", "q": 0.3, "shift": 1.0, "spread": 0.5}]}
        found = {"feature_drift": Finding(Level.OK, "said", values)}
        window_store.save_result(database, window.id, level=Level.OK, reason="", reference_version=1, findings=found)
    return database


def test_the_platforms_tables_take_every_query_of_a_role_that_only_reads(history: Database) -> None:
    asked = named("rawSql")
    assert len(asked) >= 12
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "all.yaml").read_text())
    for rule in provisioned["groups"][0]["rules"]:
        asked[f"alert/{rule['title']}"] = rule["data"][0]["model"]["rawSql"]
    connection = psycopg2.connect(history.url)
    connection.set_session(readonly=True)
    try:
        for name, sql in asked.items():
            with connection.cursor() as cursor:
                cursor.execute(as_grafana_sends(sql))
                columns = [column.name for column in cursor.description or ()]
                rows = cursor.fetchall()
            assert bool(rows) is (name.split("/")[1] not in EMPTY), name
            if columns[0] == "time":
                assert columns == ["time", "metric", "value"], name
    finally:
        connection.close()


def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    asked = named("expr")
    assert len(asked) >= 30
    rules = [{"record": f"panel:{place}", "expr": expression} for place, expression in enumerate(asked.values())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = run("promtool", "check", "rules", str(tmp_path / "panels.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout
