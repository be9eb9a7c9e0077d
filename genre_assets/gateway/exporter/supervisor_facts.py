"""How the services of this machine stand, as their supervisor wrote it; nothing where no supervisor keeps them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from genre_assets.serving.alerts import channels
from genre_assets.settings import Settings

WELL, KNOWN = "healthy", frozenset({"healthy", "unhealthy", "starting", "restarting", "failed"})


def families(settings: Settings) -> Iterator[Metric]:
    """From the state file, which is there while a supervisor runs in this folder."""
    state = _written(settings)
    if not state:
        return
    yield GaugeMetricFamily(
        "genre_supervisor_last_look_timestamp_seconds",
        "When the supervisor last looked, in seconds since 1970",
        value=state["looked_at"],
    )
    count = len(channels.from_settings(settings))
    yield GaugeMetricFamily("genre_supervisor_channels", "Channels that the supervisor notifies by", value=count)
    yield from _services(state["services"])


def _services(standings: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    healthy = GaugeMetricFamily(
        "genre_service_healthy", "1 if the service answers what a client would ask", labels=["service"]
    )
    restarts = CounterMetricFamily(
        "genre_service_restarts", "Restarts of the service by its supervisor", labels=["service"]
    )
    for name, standing in standings.items():
        if standing["state"] in KNOWN:
            healthy.add_metric([name], float(standing["state"] == WELL))
        restarts.add_metric([name], standing["restarts"])
    yield healthy
    yield restarts


def _written(settings: Settings) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((settings.home / "run" / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if "looked_at" in state else {}
