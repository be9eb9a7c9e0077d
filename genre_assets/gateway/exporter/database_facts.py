"""Facts of the database as metrics: route, drift, windows, alerts, automation. What is not known is absent, never 0."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from genre_assets.database import Database
from genre_assets.serving.alerts import beats
from genre_assets.serving.alerts.manager import ATTEMPTS
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import Standing

if TYPE_CHECKING:
    from genre_assets.serving.drift.window_store import DriftResult

SEVERITY = {Level.OK: 0, Level.SUSPECTED: 1, Level.DETECTED: 2}  # an inconclusive window says nothing
ROUTES = ("champion", "fallback")
_ALERTS = """
SELECT s.severity, count(a.id) AS open FROM (VALUES ('info'), ('warning'), ('error')) AS s (severity)
LEFT JOIN alerts a ON a.severity = s.severity AND a.resolved_at IS NULL GROUP BY 1 ORDER BY 1
"""
_MESSAGES = """
SELECT count(*) FILTER (WHERE attempts < %(most)s) AS waiting, count(*) FILTER (WHERE attempts >= %(most)s) AS given_up
FROM alert_deliveries d JOIN alerts a ON a.id = d.alert WHERE d.delivered_at IS NULL AND
    (a.resolved_at IS NULL OR attempts < %(most)s)
"""
_RETRAINING = "SELECT min(opened_at) AS since FROM retraining_requests WHERE closed_at IS NULL"


def families(database: Database) -> Iterator[Metric]:
    """Every family. Raises `TransientFailure` if the database does not answer."""
    yield from _route(route_state.standing(database))
    yield from _drift(database)
    yield from _windows(window_reports.freshness(database))
    yield from _alerts(database)
    yield from _automation(beats.read(database))
    (retraining,) = database.rows(_RETRAINING)
    yield from _moment("genre_retraining_requested_timestamp_seconds", "Since when a retraining is asked for",
                       retraining["since"])  # fmt: skip


def _route(standing: Standing) -> Iterator[Metric]:
    if standing.serving is None:
        return
    served = standing.serving
    route = GaugeMetricFamily("genre_route", "1 for the route that serves, by the books", labels=["route"])
    for name in ROUTES:
        route.add_metric([name], float(name == served.route))
    yield route
    yield _gauge("genre_route_pinned", "1 if a person holds the route", float(served.pinned))
    yield from _moment("genre_route_since_timestamp_seconds", "Since when the route serves", served.since)


def _drift(database: Database) -> Iterator[Metric]:
    """The newest window in which each property could be evaluated, and the newest of all."""
    severity = GaugeMetricFamily(
        "genre_drift_severity",
        "0 ok, 1 suspected, 2 detected, of the newest window that could be evaluated",
        labels=["property"],
    )
    newest: DriftResult | None = None
    for name in Property:
        result = window_store.newest_with(database, name)
        if result is None or name not in result.findings:
            continue
        severity.add_metric([name], SEVERITY[result.findings[name].level])
        newest = result if name is Property.FEATURE_DRIFT else newest
    yield severity
    if newest is not None:
        values = newest.findings[Property.FEATURE_DRIFT].values
        if "p_value" in values:
            yield _gauge(
                "genre_drift_p_value", "Of the newest window whose features could be evaluated", values["p_value"]
            )
        yield from _moment("genre_drift_window_closed_timestamp_seconds", "When that window ended",
                           newest.window.closed_at)  # fmt: skip


def _windows(facts: window_reports.Freshness) -> Iterator[Metric]:
    yield from _moment("genre_last_answer_timestamp_seconds", "When the last logged item was answered",
                       facts.last_answer)  # fmt: skip
    yield from _moment("genre_window_waiting_timestamp_seconds", "Since when the oldest window waits to be evaluated",
                       facts.waiting_since)  # fmt: skip
    yield from _moment("genre_unjudged_timestamp_seconds", "Since when answered items are in no evaluated window",
                       facts.unevaluated_since)  # fmt: skip


def _alerts(database: Database) -> Iterator[Metric]:
    found = GaugeMetricFamily("genre_alerts_open", "Alerts of the platform that are open", labels=["severity"])
    for row in database.rows(_ALERTS):
        found.add_metric([row["severity"]], row["open"])
    yield found
    (messages,) = database.rows(_MESSAGES, {"most": ATTEMPTS})
    waiting = GaugeMetricFamily(
        "genre_alert_messages", "Messages of the platform's alerts that nobody has", labels=["state"]
    )
    for state, count in messages.items():
        waiting.add_metric([state], count)
    yield waiting


def _automation(found: Sequence[beats.Beat]) -> Iterator[Metric]:
    ticked = GaugeMetricFamily(
        "genre_sensor_last_tick_timestamp_seconds",
        "When a sensor that is on ticked last, as the platform's notifier saw it last",
        labels=["sensor"],
    )
    failed = GaugeMetricFamily(
        "genre_sensor_failed_ticks", "How many of a sensor's newest ticks (up to 3) failed in a row", labels=["sensor"]
    )
    for beat in found:
        ticked.add_metric([beat.sensor], beat.ticked_at.timestamp())
        failed.add_metric([beat.sensor], beat.failed_in_a_row)
        if beat.sensor == beats.NOTIFIER:
            yield from _moment("genre_notifier_last_tick_timestamp_seconds", "When the platform last looked for alerts",
                               beat.ticked_at)  # fmt: skip
            yield _gauge("genre_notifier_channels", "Channels that the platform notifies by", beat.channels or 0)
    yield ticked
    yield failed


def _moment(name: str, description: str, at: datetime | None) -> Iterator[Metric]:
    if at is not None:
        yield _gauge(name, f"{description}, in seconds since 1970", at.timestamp())


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)
