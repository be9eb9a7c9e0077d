"""Write Grafana's dashboards from what is said here, by its foundation SDK: `python scripts/grafana_dashboards.py [FOLDER]`.

Queries of Prometheus and SQL of the platform's tables, each executed by a test. Change a panel here, never in the JSON.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
PLATFORM = DataSourceRef(type_val="grafana-postgresql-datasource", uid="platform")
WIDTH, HEIGHT = 24, 8
Panel = timeseries.Panel | stat.Panel | table.Panel
LEVELS = {"0": ("ok", "green"), "1": ("suspected", "orange"), "2": ("detected", "red")}
YES_NO = {"0": ("no", "red"), "1": ("yes", "green")}


class Sql(variants.Dataquery):
    """A query of the platform's tables; the SDK has no model of it."""

    def __init__(self, sql: str, shape: str, ref: str = "A") -> None:
        self.sql, self.shape, self.ref = " ".join(sql.split()), shape, ref

    def to_json(self) -> dict[str, object]:
        """As Grafana keeps it."""
        source = {"type": PLATFORM.type_val, "uid": PLATFORM.uid}
        return {"datasource": source, "editorMode": "code", "format": self.shape, "rawQuery": True, "rawSql": self.sql,
                "refId": self.ref}  # fmt: skip


class _Built(builder.Builder[variants.Dataquery]):
    """What the SDK asks of a builder."""

    def __init__(self, made: variants.Dataquery) -> None:
        self.made = made

    def build(self) -> variants.Dataquery:
        return self.made


def queries(panel: Any, asked: Sequence[tuple[str, str]]) -> Any:
    """The panel with these (expression, legend) of Prometheus."""
    panel = panel.datasource(PROMETHEUS)
    for number, (expression, legend) in enumerate(asked):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        panel = panel.with_target(query)
    return panel


def mapped(panel: Any, values: dict[str, tuple[str, str]]) -> Any:
    """Numbers shown as words, in colours."""
    results = {
        number: ValueMappingResult(text=text, color=colour, index=place)
        for place, (number, (text, colour)) in enumerate(values.items())
    }
    return panel.mappings([ValueMap(options=results)])


def graph(title: str, unit: str, *asked: tuple[str, str], says: str = "") -> timeseries.Panel:
    """Values over time."""
    panel: timeseries.Panel = queries(timeseries.Panel().title(title).unit(unit).description(says), asked)
    return panel


def number(title: str, unit: str, *asked: tuple[str, str], below: float | None = None, says: str = "") -> stat.Panel:
    """The newest values, red below a bound."""
    panel: stat.Panel = queries(stat.Panel().title(title).unit(unit).description(says), asked)
    if below is not None:
        steps = [Threshold(value=None, color="red"), Threshold(value=below, color="green")]
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel


def rows(title: str, sql: str, says: str = "") -> table.Panel:
    """Rows of the platform's tables."""
    target = _Built(Sql(sql, "table"))
    return table.Panel().title(title).description(says).datasource(PLATFORM).with_target(target)


def series(title: str, unit: str, sql: str, says: str = "") -> timeseries.Panel:
    """Columns `time`, `metric`, `value` of the platform's tables over time."""
    target = _Built(Sql(sql, "time_series"))
    return timeseries.Panel().title(title).unit(unit).description(says).datasource(PLATFORM).with_target(target)


def page(title: str, name: str, panels: Iterable[Panel], *, columns: int = 2) -> Dashboard:
    """A dashboard with the panels from left to right; a table takes a line of its own. Changes of the route are marked."""
    changes = (
        dashboard.AnnotationQuery()
        .name("Route changes")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color("purple")
        .expr('changes(genre_route{route="fallback"}[1m]) > 0')
    )
    made = (
        dashboard.Dashboard(title).uid(name).tags(["genre_assets"]).refresh("30s").time("now-6h", "now")
        .timezone("browser").readonly().annotation(changes)
    )  # fmt: skip
    x = y = 0
    for place, panel in enumerate(panels, start=1):
        wide = isinstance(panel, table.Panel)
        if wide and x:
            x, y = 0, y + HEIGHT
        width = WIDTH if wide else WIDTH // columns
        made = made.with_panel(panel.id(place).grid_pos(GridPos(h=HEIGHT, w=width, x=x, y=y)))
        x = (x + width) % WIDTH
        y += HEIGHT if x == 0 else 0
    return made.build()


def service() -> Dashboard:
    """Whether clients are answered, how fast, and what stands behind it."""
    return page("genre_assets: service", "genre-service", [
        number("Answered, of what could be", "percentunit", ("genre:availability:ratio5m", "5 minutes"), below=0.99,
               says="Without what clients gave up, or sent so that nobody could answer it"),
        mapped(number("Serves", "none", ("genre_ensemble_ready", "ensemble"), ("genre_source_up", "{{source}}")), YES_NO),
        graph("Requests by what became of them", "reqps", ("genre:requests:rate5m", "{{outcome}}")),
        graph("Time to the whole answer", "s", ("genre:request_seconds:p50_5m", "half"),
              ("genre:request_seconds:p99_5m", "99 of 100")),
        graph("Waiting before a step, on average", "s", ("genre:queue_seconds:mean5m", "{{model}}")),
        graph("Items that failed, by reason", "short", ("genre:item_errors:rate5m > 0", "{{reason}}")),
        graph("Refused by the door", "reqps", ('sum by (reason) (rate(genre_door_refused_total[5m])) > 0', "{{reason}}")),
        graph("Held by the door", "bytes", ("genre_door_held_bytes", "bytes of requests")),
        graph("Decoding and features, on average", "s",
              ("rate(genre_decode_seconds_sum[5m]) / rate(genre_decode_seconds_count[5m])", "decoding"),
              ("rate(genre_extract_seconds_sum[5m]) / rate(genre_extract_seconds_count[5m])", "features")),
        graph("Prediction log", "bytes", ("genre_log_backlog_bytes", "waits for the database"),
              ("genre_capture_backlog_bytes", "audio that waits for its bucket")),
        mapped(graph("Services of the supervisor", "short", ("genre_service_healthy", "{{service}}")), YES_NO),
        graph("Restarts within an hour", "short", ("increase(genre_service_restarts_total[1h])", "{{service}}")),
        graph("Free on disk", "percentunit", ("node_filesystem_avail_bytes / node_filesystem_size_bytes", "{{mountpoint}}")),
        graph("Memory that is left", "bytes", ("node_memory_MemAvailable_bytes", "available")),
    ])  # fmt: skip


def models() -> Dashboard:
    """Which model answers what, and since when."""
    return page("genre_assets: models and routes", "genre-models", [
        graph("Route, by the books and in Triton", "short", ("genre_route == 1", "{{route}}"),
              ("genre_triton_route == 1", "Triton: {{route}}")),
        number("Models of the release", "none", ("genre_model_info", "{{route}}: {{family}} v{{version}}")),
        graph("Answers by label", "short", ("sum by (genre) (genre:predictions:rate5m)", "{{genre}}")),
        graph("Answers by route", "short", ("sum by (route) (genre:predictions:rate5m)", "{{route}}")),
        graph("Confidence, the middle answer", "percentunit",
              ("histogram_quantile(0.5, sum by (le, route) (rate(genre_confidence_bucket[5m])))", "{{route}}")),
        series("Accuracy of labelled windows", "percentunit", """
            SELECT closed_at AS time, name AS metric, (findings->name->'values'->>'accuracy')::float AS value
            FROM drift_windows, unnest(ARRAY['labelled_accuracy', 'estimated_accuracy']) AS name
            WHERE $__timeFilter(closed_at) AND findings->name->'values'->>'accuracy' IS NOT NULL ORDER BY 1"""),
        rows("Moves of champion, fallback and route", """
            SELECT at, subject, moved_from, moved_to, actor, reason FROM audit
            WHERE $__timeFilter(at) ORDER BY id DESC LIMIT 100"""),
        rows("Answers of each model", """
            SELECT route, model, version, count(*) AS items, count(error_code) AS failed, avg(confidence) AS confidence,
            max(ts) AS newest FROM served_requests WHERE $__timeFilter(ts) GROUP BY 1, 2, 3 ORDER BY newest DESC"""),
    ])  # fmt: skip


def drift() -> Dashboard:
    """What the windows say, and how old it is."""
    return page("genre_assets: drift and quality", "genre-drift", [
        mapped(graph("Severity by property", "short", ("genre_drift_severity", "{{property}}")), LEVELS),
        graph("p-value of feature drift", "short", ("genre_drift_p_value", "newest window that could be evaluated")),
        graph("Age of what is known", "s",
              ("time() - genre_drift_window_closed_timestamp_seconds", "newest evaluated window"),
              ("time() - genre_unjudged_timestamp_seconds", "items in no evaluated window"),
              ("time() - genre_last_answer_timestamp_seconds", "last answer")),
        series("Share of failed items", "percentunit", """
            SELECT date_trunc('minute', ts) AS time, 'failed' AS metric, avg((error_code IS NOT NULL)::int) AS value
            FROM served_requests WHERE $__timeFilter(ts) GROUP BY 1 ORDER BY 1"""),
        series("Answers by label", "short", """
            SELECT date_trunc('minute', ts) AS time, label AS metric, count(*) AS value FROM served_requests
            WHERE $__timeFilter(ts) AND label IS NOT NULL GROUP BY 1, 2 ORDER BY 1"""),
        series("p-value of each window", "short", """
            SELECT closed_at AS time, route AS metric, (findings->'feature_drift'->'values'->>'p_value')::float AS value
            FROM drift_windows WHERE $__timeFilter(closed_at)
            AND findings->'feature_drift'->'values'->>'p_value' IS NOT NULL ORDER BY 1"""),
        rows("Windows", """
            SELECT closed_at, id, route, version, items, rows, closed_by, level, reason, report FROM drift_windows
            WHERE $__timeFilter(closed_at) ORDER BY closed_at DESC LIMIT 100"""),
        rows("Features that drifted most in the newest window that was evaluated", """
            SELECT f->>'name' AS feature, (f->>'q')::float AS q, (f->>'shift')::float AS shift,
            (f->>'spread')::float AS spread FROM jsonb_array_elements((SELECT findings->'feature_drift'->'values'->'features'
            FROM drift_windows WHERE findings->'feature_drift'->'values' ? 'features'
            ORDER BY closed_at DESC LIMIT 1)) AS f ORDER BY 2 LIMIT 25"""),
    ])  # fmt: skip


def pipeline() -> Dashboard:
    """Whether automation goes on, what is wrong, and what waits for people."""
    return page("genre_assets: pipeline", "genre-pipeline", [
        graph("Since the last tick of a sensor", "s", ("time() - genre_sensor_last_tick_timestamp_seconds", "{{sensor}}")),
        graph("Failed ticks in a row", "short", ("genre_sensor_failed_ticks > 0", "{{sensor}}")),
        graph("Open alerts", "short", ("genre_alerts_open", "{{severity}}")),
        graph("Messages that nobody has", "short", ("genre_alert_messages", "{{state}}")),
        graph("Prometheus: alerts that fire", "short",
              ('count by (alertname) (ALERTS{alertstate="firing", severity!="none"})', "{{alertname}}")),
        series("Labels given by people", "short", """
            SELECT date_trunc('hour', taken_at) AS time, labelled_by AS metric, count(*) AS value FROM served_labels
            WHERE $__timeFilter(taken_at) GROUP BY 1, 2 ORDER BY 1"""),
        rows("Alerts", """
            SELECT opened_at, resolved_at, severity, key, title, body, seen FROM alerts
            WHERE resolved_at IS NULL OR $__timeFilter(opened_at) ORDER BY (resolved_at IS NOT NULL), opened_at DESC LIMIT 100"""),
        rows("Asked for: training again", """
            SELECT opened_at, closed_at, version, reason FROM retraining_requests ORDER BY id DESC LIMIT 20"""),
        rows("Recordings by label", """
            SELECT label, count(*) AS files, count(DISTINCT recording) AS recordings FROM recording_files GROUP BY 1 ORDER BY 1"""),
        rows("Labelled clips on their way into the training data", """
            SELECT label, count(*) AS clips, count(done_at) AS copied, count(problem) AS with_a_problem FROM training_clips
            GROUP BY 1 ORDER BY 1"""),
    ])  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    register_default_plugins()
    for name, made in (("service", service()), ("models", models()), ("drift", drift()), ("pipeline", pipeline())):
        read = Dashboard.from_json(json.loads(JSONEncoder().encode(made)))  # which fills in what the builders leave out
        (folder / f"{name}.json").write_text(JSONEncoder(sort_keys=True, indent=1).encode(read) + "\n")


if __name__ == "__main__":
    main()
