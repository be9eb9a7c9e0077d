"""How figures with intervals are kept in MLflow: the value as a metric, its bounds together in one tag."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run

INTERVAL = ".interval"
"""Ends the name of a tag with the [lower, upper] bound of the metric that is named before it."""
LOW, HIGH = "_low", "_high"


def figures_of(run: "Run") -> dict[str, float]:
    """The metrics of a run, the bounds of intervals among them."""
    found = dict(run.data.metrics)
    for tag, value in run.data.tags.items():
        if tag.endswith(INTERVAL):
            name = tag.removesuffix(INTERVAL)
            found[name + LOW], found[name + HIGH] = json.loads(value)
    return found


def parted(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """A run's metrics without the bounds of intervals, and tags that hold those."""
    names = [name for name in metrics if name + LOW in metrics and name + HIGH in metrics]
    bounds = {name + end for name in names for end in (LOW, HIGH)}
    intervals = {name + INTERVAL: json.dumps([float(metrics[name + end]) for end in (LOW, HIGH)]) for name in names}
    return {name: value for name, value in metrics.items() if name not in bounds}, intervals
