"""What a window says about each property: a level, a sentence for people, numbers. One asset check states each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from genre_assets.serving.drift.detection import FeatureDrift, Level

TOP_FEATURES = 25  # named in the database; the report has all


class Property(StrEnum):
    """The properties that are evaluated, each by one asset check."""

    FEATURE_DRIFT = "feature_drift"
    PREDICTION_MIX = "prediction_mix"
    CONFIDENCE = "confidence"
    ESTIMATED_ACCURACY = "estimated_accuracy"
    LABELLED_ACCURACY = "labelled_accuracy"
    DATA_QUALITY = "data_quality"
    LATENCY = "latency"


SHADOW = "shadow"  # a finding without a check: what the idle model makes of the same items


class Cause(StrEnum):
    """Why a window could not be evaluated."""

    THIN = "thin"
    AGE = "age"
    TRAINED = "trained"
    SWITCH = "switch"
    NO_REFERENCE = "no_reference"
    SCHEMA = "schema"
    NO_ANSWERS = "no_answers"
    NO_LABELS = "no_labels"


@dataclass(frozen=True)
class Finding:
    """One property of one window. `values` are plain JSON."""

    level: Level
    headline: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As the database and the report keep it."""
        return {"level": self.level.value, "headline": self.headline, "values": dict(self.values)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Finding":
        """As `as_json` wrote it."""
        return cls(Level(kept["level"]), kept["headline"], kept["values"])


Findings = Mapping[str, Finding]  # by the name of the property, or `SHADOW`


def of_feature_drift(drift: FeatureDrift, items: int, false_alarm_rate: float) -> Finding:
    """The main verdict in words and numbers."""
    drifted = drift.drifted()
    worst = ", ".join(f.name for f in drift.features[:3])
    headline = {
        Level.OK: f"no drift in {items} items (p = {drift.p_value:.3f})",
        Level.SUSPECTED: f"drift suspected in {items} items (p = {drift.p_value:.3f}), most in {worst}",
        Level.DETECTED: f"drift in {items} items (p = {drift.p_value:.3f}), most in {worst}",
    }[drift.level]
    return Finding(
        drift.level,
        headline,
        {
            "p_value": drift.p_value,
            "false_alarm_rate": false_alarm_rate,
            "questions": drift.questions,
            "drifted_features": len(drifted),
            "features": [
                {"name": f.name, "q": f.q, "shift": round(f.shift, 2), "spread": round(f.spread, 2)}
                for f in drift.features[:TOP_FEATURES]
            ],
            "mix": drift.mix,
        },
    )


def inconclusive(cause: Cause, headline: str) -> Finding:
    """A window that cannot be evaluated, and why."""
    return Finding(Level.INCONCLUSIVE, headline, {"cause": cause.value})


# Shares of a window's rows. An error is a file that could not be answered; a repeat is a file seen before in it.
ERRORS_SUSPECTED, ERRORS_DETECTED = 0.05, 0.2


def of_data_quality(rows: int, errors: Mapping[str, int], unsound: int, items: int, trained: int) -> Finding:
    """How much of the window was no evidence: failed items, answered ones with bad features, repeats, training files.

    Parameters
    ----------
    rows
        Rows in the window.
    errors
        Failed rows by error code.
    unsound
        Answered rows without finite features.
    items
        Distinct sound items.
    trained
        Those of them that the model was trained on.
    """
    failed = sum(errors.values())
    share = (failed + unsound) / max(rows, 1)
    level = Level.DETECTED if share >= ERRORS_DETECTED else Level.SUSPECTED if share >= ERRORS_SUSPECTED else Level.OK
    repeats = max(rows - failed - unsound - items, 0)
    headline = f"{failed} of {rows} rows failed, {unsound} had bad features, {repeats} were repeats"
    if trained:
        headline += f", {trained} of {items} items are training files"
    return Finding(
        level,
        headline,
        {
            "rows": rows,
            "errors": dict(errors),
            "unsound": unsound,
            "repeats": repeats,
            "trained": trained,
            "bad_share": round(share, 4),
        },
    )


# The window's 95th percentile against the usual one (median of earlier windows), of items that took real time.
SLOWER_SUSPECTED, SLOWER_DETECTED = 2.0, 4.0
NOTICEABLE_MS = 50.0


def of_latency(milliseconds: Sequence[float], earlier: Sequence[float]) -> Finding:
    """Time inside the models for an item (decoding, features, prediction), against earlier windows.

    Parameters
    ----------
    milliseconds
        Of each answered item.
    earlier
        95th percentiles of earlier windows; without any, there is nothing to compare with.
    """
    if not milliseconds:
        return inconclusive(Cause.THIN, "no item was answered")
    median, p95 = (float(v) for v in np.percentile(milliseconds, [50, 95]))
    usual = float(np.median(earlier)) if len(earlier) else None
    slower = p95 / max(usual, 1.0) if usual is not None and p95 - usual > NOTICEABLE_MS else 1.0
    level = Level.OK
    if slower >= SLOWER_SUSPECTED:
        level = Level.DETECTED if slower >= SLOWER_DETECTED else Level.SUSPECTED
    said = f", usually {usual:.0f}" if usual is not None else ""
    values = {
        "median_ms": round(median, 2),
        "p95_ms": round(p95, 2),
        **({"usual_ms": usual} if usual is not None else {}),
    }
    return Finding(level, f"95 % of items within {p95:.0f} ms{said}", values)
