"""The metrics of our own, from the code that makes them."""

import re
from types import SimpleNamespace
from typing import Any

import prometheus_client

from genre_assets.gateway import app
from genre_assets.inference.metrics import Metrics
from genre_assets.triton.door.room import Room
from genre_assets_tests.site.markdown import code, page, sentence, table

Row = tuple[str, str, str]
HEAD = ("Metric", "Type", "What it says")


class _Families:
    """Stands in for Triton's `pb_utils`, which exists inside a Triton process alone: writes down what is made."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.MetricFamily = type("MetricFamily", (), {"COUNTER": "counter", "GAUGE": "gauge", "HISTOGRAM": "histogram"})
        self.MetricFamily.__new__ = lambda _, **given: self.made(**given)  # type: ignore[method-assign,assignment]

    def made(self, name: str, description: str, kind: str) -> Any:
        """One family, of which metrics can be asked."""
        self.rows.append((code(name), kind, f"{sentence(description)}."))
        return SimpleNamespace(Metric=lambda **_: SimpleNamespace(increment=_nothing, set=_nothing, observe=_nothing))


def _nothing(_: float) -> None:
    """Nobody reads the stand-in's values."""


def metrics_page() -> str:
    """By server."""
    families = _Families()
    Metrics(families)
    return page(
        "Metrics",
        "All of them are in Prometheus' form. Triton's own metrics stand beside those of its models.",
        "## Of the models, at `/metrics` of Triton's metrics port\n\n" + table(HEAD, sorted(families.rows)),
        "## Of the door, at `/metrics` of Triton's HTTP port\n\n" + table(HEAD, of_text(Room(1, 1).text())),
        f"## Of the gateway, at {code('/v1/metrics')}\n\n" + table(HEAD, _of_gateway()),
    )


def of_text(text: str) -> list[Row]:
    """The families that a text in Prometheus' form announces, by name."""
    words = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return sorted((code(name), kind, f"{words[name]}.") for name, kind in kinds)


def _of_gateway() -> list[Row]:
    assert app.SECONDS  # importing it makes the families
    suffix = {"counter": "_total"}
    return sorted(
        (code(family.name + suffix.get(family.type, "")), family.type, sentence(family.documentation))
        for family in prometheus_client.REGISTRY.collect()
        if family.name.startswith("genre_")
    )
