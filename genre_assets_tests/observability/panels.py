"""The dashboards of deploy/grafana: their queries."""

import json
import re
from typing import Any

from genre_assets.shipped.files import PROJECT_ROOT

GRAFANA = PROJECT_ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FILES}


def named(kind: str) -> dict[str, str]:
    """Every query of a kind (`expr` or `rawSql`), by dashboard, panel and letter."""
    found = {
        f"{name}/{panel['title']}/{target['refId']}": target[kind]
        for name, content in DASHBOARDS.items()
        for panel in content["panels"]
        for target in panel["targets"]
        if kind in target
    }
    if kind == "expr":
        for name, content in DASHBOARDS.items():
            for note in content["annotations"]["list"]:
                found[f"{name}/{note['name']}"] = note["expr"]
    return found


def as_grafana_sends(sql: str) -> str:
    """With its macros put in, for the last day."""
    return re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 day' AND now()", sql)
