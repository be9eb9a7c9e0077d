"""The files of deploy/prometheus, read once."""

import re
from typing import Any

import yaml

from genre_assets.shipped.files import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "prometheus"
FILES = sorted((FOLDER / "rules").glob("*.yml"))
RULES: list[dict[str, Any]] = [
    rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED: dict[str, str] = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
CASES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "tests" / "cases.yml").read_text())


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names; what stands in label matchers and groupings is no metric."""
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|without|ignoring)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"\b(?:genre|nv|node|pg)_\w+|\bup\b", bare))
