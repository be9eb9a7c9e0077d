"""What the ensemble tells Prometheus beside Triton's own metrics.

Counted where the answer is worded, in one process, so that a restart of an extracting process resets nothing.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from genre_assets.inference.answers import Answer, Facts, ServedBy
from genre_assets.inference.capture_upload import CaptureState
from genre_assets.inference.spool import LogState

BACKLOG, DROPPED = "genre_log_backlog_bytes", "genre_log_dropped_rows_total"
SET_ASIDE, SHIPPED = "genre_log_set_aside_rows_total", "genre_log_last_success_timestamp_seconds"
CAPTURE_BACKLOG, CAPTURE_DROPPED = "genre_capture_backlog_bytes", "genre_capture_dropped_clips_total"
CAPTURE_STORED = "genre_capture_stored_clips_total"
# Every code of an item that failed, each counted from 0: a rate over a series that begins with its first error sees none.
ERROR_CODES = (
    "bad_address", "bad_request_id", "bucket_not_allowed", "empty", "internal", "no_answer", "not_finite", "not_found",
    "request_too_large", "silent", "store_unavailable", "too_large", "too_short", "truncated", "undecodable", "unsupported",
)  # fmt: skip
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The custom metric families. `utils` is the python backend's `pb_utils`, or a stand-in in tests."""

    def __init__(self, utils: Any) -> None:
        counter, gauge, histogram = utils.MetricFamily.COUNTER, utils.MetricFamily.GAUGE, utils.MetricFamily.HISTOGRAM

        def family(name: str, description: str, kind: Any) -> Any:
            return utils.MetricFamily(name=name, description=description, kind=kind)

        self._predictions = family("genre_predictions_total", "Items answered, by genre and route", counter)
        self._errors = family("genre_item_errors_total", "Items that failed, by reason", counter)
        self._confidence = family("genre_confidence", "Probability of the label given, by route", histogram)
        self._decode = family("genre_decode_seconds", "Time to decode an item", histogram)
        self._extract = family("genre_extract_seconds", "Time to compute the features of an item", histogram)
        self._probes = family("genre_probe_items_total", "Items of probes answered, in no other metric or row", counter)
        self._unsealed = family(
            "genre_unsealed_requests_total", "Requests to an inner model that were refused", counter
        )
        self._skew = family(
            "genre_release_skew", "1 if the environment that runs is another than the release names", gauge
        )
        background = {
            name: family(name, description, kind)
            for name, description, kind in (
                (BACKLOG, "Bytes of the prediction log not in the database yet", gauge),
                (DROPPED, "Rows of the prediction log given up: the spool was full, or could not be written", counter),
                (SET_ASIDE, "Rows of the prediction log that the database cannot hold", counter),
                (SHIPPED, "When the prediction log last had everything in the database, in seconds since 1970", gauge),
                (CAPTURE_BACKLOG, "Bytes of clients' audio not in their bucket yet", gauge),
                (CAPTURE_DROPPED, "Clips of clients that were to be kept and could not be", counter),
                (CAPTURE_STORED, "Clips of clients that were stored in their bucket", counter),
            )
        }
        self._prediction = cache(lambda label, route: self._predictions.Metric(labels={"genre": label, "route": route}))
        self._error = cache(lambda code: self._errors.Metric(labels={"reason": code}))
        for code in ERROR_CODES:
            self._error(code)
        self._confidence_of = cache(lambda route: _histogram(self._confidence, {"route": route}, CONFIDENCE_BUCKETS))
        self._decode_time = _histogram(self._decode, {}, SECONDS_BUCKETS)
        self._extract_time = _histogram(self._extract, {}, SECONDS_BUCKETS)
        self._probe = self._probes.Metric(labels={})
        self._refused = self._unsealed.Metric(labels={})
        self._families = background  # Triton forgets a family that nobody holds
        self._background = {name: each.Metric(labels={}) for name, each in background.items()}
        self._told = LogState(0, 0, 0, 0.0)
        self._captured = CaptureState(0, 0, 0)

    def count(self, answer: Answer, facts: Facts, served: ServedBy) -> None:
        """Count one item."""
        if answer.code:
            self._error(answer.code).increment(1)
            return
        self._prediction(answer.label, served.route).increment(1)
        self._confidence_of(served.route).observe(answer.confidence)
        self._decode_time.observe(facts.decode_ms / 1e3)
        self._extract_time.observe(facts.extract_ms / 1e3)

    def count_probe(self, items: int) -> None:
        """Count the items of a probe: any client can call its request one, so it must be seen somewhere."""
        self._probe.increment(items)

    def release_state(self, *, fits: bool | None) -> None:
        """Whether what runs is what the release names; None is unknown, and no sample."""
        if fits is not None:
            self._running = self._skew.Metric(labels={"what": "environment"})
            self._running.set(0 if fits else 1)

    def count_unsealed(self) -> None:
        """Count a request that did not come through the ensemble."""
        self._refused.increment(1)

    def log_state(self, state: LogState) -> None:
        """State of the prediction log; may be told from any thread."""
        self._background[BACKLOG].set(state.backlog)
        self._background[DROPPED].increment(state.dropped - self._told.dropped)
        self._background[SET_ASIDE].increment(state.set_aside - self._told.set_aside)
        self._background[SHIPPED].set(state.shipped_at)
        self._told = state

    def capture_state(self, state: CaptureState) -> None:
        """State of the clients' audio that is kept; may be told from any thread."""
        self._background[CAPTURE_BACKLOG].set(state.backlog)
        self._background[CAPTURE_DROPPED].increment(state.dropped - self._captured.dropped)
        self._background[CAPTURE_STORED].increment(state.stored - self._captured.stored)
        self._captured = state


def _histogram(family: Any, labels: dict[str, str], buckets: Iterable[float]) -> Any:
    return family.Metric(labels=labels, buckets=list(buckets))
