"""What people are told about: checks, runs, moves of the route, Triton, the log, sensors, retraining.

Facts in, calls of `Alerts` out; no Dagster. Each function may be called at every tick: `Alerts` knows what is new.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from genre_assets.audit import Move
from genre_assets.errors import TransientFailure
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift.window_reports import Freshness
from genre_assets.serving.drift.windows import Rules

ROUTE_KEY = "route"
TRITON_KEY = "triton"
RETRAINING_KEY = "retraining"
S3_KEY = "s3"
UNSEALED = "genre_unsealed_requests_total"
CAPTURE_DROPPED = "genre_capture_dropped_clips"
S3_FAILURES = 3  # looks in a row
BACKLOG_SHARE = 0.25  # of the spool: a database that is away for minutes is nobody's business yet
LOG_STANDS_SECONDS = 300.0
OVERDUE = timedelta(minutes=10)  # to evaluate a window takes seconds
FORMER_KEYS = {"stale:verdicts": "stale:windows", "stale:judged": "stale:drift"}
"""Of November 2026. One that is open resolves under the key by which its receivers know it, and opens under its new one."""
SENSOR_FAILURES = 2  # in a row


@dataclass(frozen=True)
class Counter:
    """A count of Triton's metrics that should stand still; what is told when it grows, and when it does no more."""

    metric: str
    key: str
    title: str
    body: str  # after the number
    resolved: str
    severity: Literal["error", "warning"] = "warning"


COUNTERS: Mapping[str, Counter] = {
    "dropped": Counter(
        "genre_log_dropped_rows", "log:dropped", "rows of the prediction log are lost",
        "since the last look", "no more rows are lost", "error",
    ),
    "set_aside": Counter(
        "genre_log_set_aside_rows", "log:set_aside", "rows that the database cannot hold are set aside",
        "since the last look: see spool_set_aside in Triton's folder of the state folder", "no more rows are set aside",
    ),
    "unsealed": Counter(
        UNSEALED, "serving:unsealed", "somebody asks the inner models",
        "refused since the last look: no step of the ensemble had signed what they said", "only the ensemble is asked",
    ),
    "clips_lost": Counter(
        CAPTURE_DROPPED, "capture:dropped", "clips of clients that were to be kept are lost",
        "since the last look: S3 does not take them, or their spool is full (GENRE_CAPTURE_SPOOL_MAX_MB); Triton's log says why",
        "no more clips are lost",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CheckEvaluation:
    """One finished evaluation of an asset check. `id` ascends; `warning` says that a failure is no error."""

    id: int
    check: str
    passed: bool
    warning: bool
    description: str
    links: dict[str, str]


def tell_checks(history: Sequence[CheckEvaluation], after: int, alerts: Alerts) -> int:
    """Alerts for one check's evaluations, oldest first, that came after the id `after`; returns the last id.

    An error is told at once. A warning must come twice in a row: one alone is in the UI, and one in twenty undrifted
    windows gives one.
    """
    before: CheckEvaluation | None = None
    for evaluation in history:
        failed_before = before is not None and not before.passed
        before = evaluation
        if evaluation.id <= after:
            continue
        key = f"check:{evaluation.check}"
        if evaluation.passed:
            alerts.resolve(key, f"passes again: {evaluation.description}", links=evaluation.links)
        elif not evaluation.warning or failed_before:
            alerts.report(
                key,
                f"check {evaluation.check} failed",
                evaluation.description or "see the run",
                severity="warning" if evaluation.warning else "error",
                links=evaluation.links,
            )
    return max([after, *(evaluation.id for evaluation in history)])


def tell_run(job: str, run_id: str, url: str, *, problem: str | None, alerts: Alerts) -> None:
    """A run of a job ended: with a problem, or well."""
    key, links = f"run:{job}", {"run": f"{url}/runs/{run_id}"}
    if problem is None:
        alerts.resolve(key, f"run {run_id[:8]} succeeded", links=links)
    else:
        alerts.report(key, f"a run of {job} failed", problem, links=links)


def tell_moves(moves: Iterable[Move], alerts: Alerts, url: str) -> None:
    """Moves of the route, oldest first: the fallback serves, or the champion again."""
    links = {"drift reports": f"{url}/assets/drift_reports"}
    for move in moves:
        body = f"{move.reason} (by {move.actor}, {move.at:%Y-%m-%d %H:%M:%S} UTC)"
        if move.moved_to == "fallback":
            alerts.report(ROUTE_KEY, "the fallback serves", body, severity="warning", links=links, occasion=move.id)
        else:
            alerts.resolve(ROUTE_KEY, body, links=links, occasion=move.id)


def tell_triton(ready: bool, not_ready_before: int, alerts: Alerts, url: str) -> int:
    """Whether the ensemble takes requests; told when it does not for two looks in a row. Returns the looks so far."""
    if ready:
        alerts.resolve(TRITON_KEY, "the ensemble takes requests again")
        return 0
    if not_ready_before >= 1:
        alerts.report(
            TRITON_KEY,
            "Triton does not serve",
            "the ensemble is not ready",
            links={"live ensemble": f"{url}/assets/live_ensemble"},
        )
    return not_ready_before + 1


def tell_s3(problem: Exception | None, failed_before: int, bucket: str, alerts: Alerts, url: str) -> int:
    """Whether the raw bucket can be listed: access denied or no bucket at once, silence at the third look in a row.

    Returns the failed looks so far.
    """
    if problem is None:
        alerts.resolve(S3_KEY, f"s3://{bucket} can be listed again")
        return 0
    if failed_before + 1 >= S3_FAILURES or not isinstance(problem, TransientFailure):
        links = {"raw audio": f"{url}/assets/raw_audio"}
        alerts.report(S3_KEY, "the raw bucket cannot be listed: new audio is not seen", str(problem), links=links)
    return failed_before + 1


def tell_freshness(facts: Freshness, rules: Rules, now: datetime, alerts: Alerts, url: str) -> None:
    """Silence for two of a window's longest times, a window that is not evaluated, and items of which none can be."""
    for former, key in FORMER_KEYS.items():
        alerts.resolve(former, f"from here on this alert is called {key}")
    links = {"drift reports": f"{url}/assets/drift_reports"}
    if facts.last_answer is not None and now - facts.last_answer > 2 * rules.longest:
        body = f"the last one was at {facts.last_answer:%Y-%m-%d %H:%M:%S} UTC"
        alerts.report("stale:answers", "no item has been answered for long", body, severity="warning", links=links)
    else:
        alerts.resolve("stale:answers", "items are answered again")
    if facts.waiting_since is not None and now - facts.waiting_since > OVERDUE:
        body = f"the oldest was complete at {facts.waiting_since:%Y-%m-%d %H:%M:%S} UTC; see the runs of the job drift"
        alerts.report("stale:windows", "a window waits to be evaluated", body, links=links)
    else:
        alerts.resolve("stale:windows", "every window is evaluated")
    if facts.unevaluated_since is not None and now - facts.unevaluated_since > rules.oldest + rules.longest:
        body = f"no window since {facts.unevaluated_since:%Y-%m-%d %H:%M:%S} UTC could be evaluated: see its checks for why"
        alerts.report("stale:drift", "nothing is known about drift", body, severity="warning", links=links)
    else:
        alerts.resolve("stale:drift", "a window was evaluated")


def gauges(text: str) -> dict[str, float]:
    """What is told of Triton's metrics (Prometheus text), summed over their labels: the log's, and the `COUNTERS`."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, float] = {}
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        if sample.name.startswith(("genre_log_", UNSEALED, CAPTURE_DROPPED)):
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def tell_log(
    found: Mapping[str, float], spool_max_mb: float, before: Mapping[str, int], now: datetime, alerts: Alerts, url: str
) -> dict[str, int]:
    """A prediction log that piles up or stands still; and what was lost or refused since the last look (`COUNTERS`).

    `before` are the counts that the last look returned. Returns the counts now.
    """
    links = {"prediction log": f"{url}/assets/served_requests"}
    bytes_waiting = found.get("genre_log_backlog_bytes", 0.0)
    if bytes_waiting / 1e6 > BACKLOG_SHARE * spool_max_mb:
        body = f"{bytes_waiting / 1e6:.0f} of {spool_max_mb:.0f} MB are used; is the database up?"
        alerts.report("log:backlog", "answers pile up before the database", body, severity="warning", links=links)
    else:
        alerts.resolve("log:backlog", "the log has caught up")
    standing = now.timestamp() - found.get("genre_log_last_success_timestamp_seconds", now.timestamp())
    if standing > LOG_STANDS_SECONDS:
        body = f"nothing was written for {standing / 60:.0f} minutes; see Triton's log for `prediction log`"
        alerts.report("log:stands", "the prediction log stands still", body, links=links)
    else:
        alerts.resolve("log:stands", "the log reaches the database again")
    return {name: _tell_count(counter, int(_counted(found, counter.metric)), before.get(name, 0), alerts, links)
            for name, counter in COUNTERS.items()}  # fmt: skip


def _tell_count(counter: Counter, now: int, before: int, alerts: Alerts, links: Mapping[str, str]) -> int:
    new = now - before if now >= before else now  # one that went down was started again: all that it counts is new
    if new:
        alerts.report(counter.key, counter.title, f"{new} {counter.body}", severity=counter.severity, links=links)
    else:
        alerts.resolve(counter.key, counter.resolved)
    return now


def _counted(found: Mapping[str, float], name: str) -> float:
    """A counter; a release that was built before counters had the ending `_total` says it without."""
    return found.get(f"{name}_total", found.get(name, 0.0))


def tell_sensors(failures: Mapping[str, int], alerts: Alerts, url: str) -> None:
    """Sensors by name with how many of their last ticks failed in a row."""
    for name, in_a_row in failures.items():
        if in_a_row >= SENSOR_FAILURES:
            links = {"automation": f"{url}/automation"}
            alerts.report(f"sensor:{name}", f"sensor {name} fails", f"its last {in_a_row} ticks failed", links=links)
        elif in_a_row == 0:
            alerts.resolve(f"sensor:{name}", "it works again")


def tell_retraining(reason: str | None, alerts: Alerts, url: str) -> None:
    """The retraining request that waits for new labelled data, if any."""
    if reason is None:
        alerts.resolve(RETRAINING_KEY, "a newer version serves")
    else:
        hint = "label more of them with: genre-assets review LIST, then genre-assets review LIST --take"
        alerts.report(
            RETRAINING_KEY,
            "training again is asked for",
            f"{reason}; {hint}",
            severity="warning",
            links={"champion and fallback": f"{url}/assets/champion_models"},
        )
