"""Windows to verdicts: finds the reference, compares, keeps what was found. Repeatable; a window is evaluated once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.serving.drift import answers, detection, findings, null, reference, shadow, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import SHADOW, Cause, Finding, Findings, Property
from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.drift.windows import ClosedBy, Window
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

BY_REFERENCE: tuple[str, ...] = (
    Property.FEATURE_DRIFT,
    Property.PREDICTION_MIX,
    Property.CONFIDENCE,
    Property.ESTIMATED_ACCURACY,
)


class References:
    """The references in the object store, each made ready once for all windows of a run."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._bucket = settings.serving_bucket
        self._resamples = max(null.RESAMPLES, round(5 / settings.false_alarm_rate) - 1)
        self._ready: dict[int, Baseline] = {}
        self._listed: set[int] | None = None
        self.idle = shadow.IdleModels(store, settings)

    def version_for(self, database: Database, window: Window) -> int | None:
        """Which model's training rows a window is compared with.

        The champion's, also while the fallback serves: the champion of the newest release, which would serve next (one that
        was trained on what drifted would else wait for ever); without a release, the version that served the champion route
        last; if its reference is not there, the newest one. None if there is none at all.
        """
        versions = self._versions()
        served: int | None
        if window.epoch.route == "champion":
            served = window.epoch.version
        else:
            served = self._next_champion()
            if served not in versions:
                rows = database.rows(
                    "SELECT version FROM drift_windows WHERE route = 'champion' AND closed_at <= %s"
                    " ORDER BY closed_at DESC LIMIT 1",
                    (window.closed_at,),
                )
                served = rows[0]["version"] if rows else -1
        return served if served in versions else max(versions, default=None)

    def find(self, version: int) -> Baseline | None:
        """The version's reference if it is there and can be used."""
        try:
            return self.load(version) if version in self._versions() else None
        except BadInput:
            return None

    def trained_on(self, *versions: int | None) -> frozenset[str]:
        """SHA-256 of the files that these models were trained on, as far as it is known."""
        found = [self.find(version) for version in set(versions) if version is not None]
        return frozenset().union(*(base.reference.files for base in found if base))

    def load(self, version: int) -> Baseline:
        """The reference of a version. Raises `BadInput` if it cannot be used."""
        if version not in self._ready:
            frame = self._store.read_parquet(self._bucket, keys.reference(version))
            self._ready[version] = null.baseline(reference.from_frame(frame), resamples=self._resamples)
        return self._ready[version]

    def _next_champion(self) -> int | None:
        try:
            return self.idle.version("fallback")
        except (GenreError, FileNotFoundError):
            return None

    def _versions(self) -> set[int]:
        if self._listed is None:
            found = (keys.version_of_reference(entry.key) for entry in self._store.list(self._bucket, keys.REFERENCES))
            self._listed = {version for version in found if version is not None}
        return self._listed


def evaluate_waiting(database: Database, store: ObjectStore, settings: Settings) -> Iterator[DriftResult]:
    """Evaluate every window that waits, oldest first; each verdict is in the database before the next window's turn."""
    references = References(store, settings)
    for waiting in window_store.unevaluated(database):
        yield evaluate(database, references, settings, waiting.window)


def evaluate(
    database: Database, references: References, settings: Settings, window: Window, *, again: bool = False
) -> DriftResult:
    """Evaluate one window and keep the verdict; `again` replaces one that is there."""
    rows = window_store.rows(database, window)
    version = references.version_for(database, window)
    found = evaluate_rows(rows, window, references, version, settings, window_store.earlier_p95(database, window))
    main = found[Property.FEATURE_DRIFT]
    window_store.save_result(
        database,
        window.id,
        level=main.level,
        reason=main.headline,
        reference_version=version,
        findings=found,
        again=again,
    )
    kept = window_store.by_id(database, window.id)
    if kept is None:
        raise BadInput(f"there is no window {window.id}")
    return kept


def evaluate_rows(
    rows: "pd.DataFrame",
    window: Window,
    references: References,
    version: int | None,
    settings: Settings,
    earlier_p95: Sequence[float] = (),
) -> Findings:
    """Every property of one window. Never raises on bad data: what cannot be evaluated is inconclusive, with its cause."""
    failed = rows[rows["error_code"].notna()]
    answered = rows[rows["error_code"].isna()]
    unsound = sum(not _finite(values) for values in answered["features"])
    items = sound_items(rows)
    known = items["fingerprint"].isin(references.trained_on(version, window.epoch.version))
    evidence, trained = items[~known], int(known.sum())
    times = answered["decode_ms"] + answered["extract_ms"] + answered["predict_ms"]
    return {
        **_by_reference(evidence, trained, window, references, version, settings),
        Property.LABELLED_ACCURACY: findings.inconclusive(Cause.NO_LABELS, "no labels have come yet"),
        Property.DATA_QUALITY: findings.of_data_quality(
            len(rows), Counter(failed["error_code"].astype(str)), unsound, len(items), trained
        ),
        Property.LATENCY: findings.of_latency(times.tolist(), earlier_p95),
    }


def sound_items(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The first row of each distinct file that was answered with finite features: a repeat is no new evidence."""
    answered = rows[rows["error_code"].isna() & rows["fingerprint"].notna()]
    return answered[[_finite(values) for values in answered["features"]]].drop_duplicates("fingerprint")


def _by_reference(
    items: "pd.DataFrame", trained: int, window: Window, references: References, version: int | None, settings: Settings
) -> Findings:
    """The properties that need a reference; if one cannot be evaluated, none can, for the same cause."""
    if len(items) < settings.window_minimum:
        return dict.fromkeys(BY_REFERENCE, _too_few(len(items), trained, window, settings))
    base = _usable_reference(items, window, references, version)
    if isinstance(base, Finding):
        return dict.fromkeys(BY_REFERENCE, base)
    values = np.array(items["features"].tolist(), np.float32)
    rate, seed = settings.false_alarm_rate, int(window.id[-8:], 16)
    drift = detection.feature_drift(base, values, false_alarm_rate=rate, seed=seed)
    found: Findings = {Property.FEATURE_DRIFT: findings.of_feature_drift(drift, len(items), rate)}
    own = references.find(window.epoch.version)
    if own is None or set(items["probabilities"].map(len)) != {len(own.reference.labels)}:
        why = f"the out-of-fold answers of version {window.epoch.version} are not known, or not for all genres"
        return {**dict.fromkeys(BY_REFERENCE, findings.inconclusive(Cause.NO_ANSWERS, why)), **found}
    undrifted = drift.undrifted
    if window.epoch.version != version:
        _, shares = null.difference(own, reference.rank_scores(own.reference, values))
        undrifted = null.Undrifted(own, shares, len(values), seed)
    probabilities = np.array(items["probabilities"].tolist(), np.float32)
    return {
        **found,
        Property.PREDICTION_MIX: answers.label_mix(own.reference, undrifted, probabilities, rate),
        Property.CONFIDENCE: answers.confidence(own.reference, undrifted, probabilities, rate),
        Property.ESTIMATED_ACCURACY: answers.of_estimated_accuracy(own.reference, probabilities),
        SHADOW: shadow.score(references.idle, window.epoch.route, values, probabilities, references.find),
    }


def _usable_reference(
    items: "pd.DataFrame", window: Window, references: References, version: int | None
) -> Baseline | Finding:
    """The reference to compare with, or why there is no comparison."""
    if version is None:
        return findings.inconclusive(Cause.NO_REFERENCE, "no model has a drift reference: run the job retrain")
    try:
        base = references.load(version)
    except BadInput as problem:
        return findings.inconclusive(Cause.NO_REFERENCE, f"the reference of version {version}: {problem}")
    mismatch = _schema_problem(items, window, base)
    return base if mismatch is None else findings.inconclusive(Cause.SCHEMA, mismatch)


def _too_few(items: int, trained: int, window: Window, settings: Settings) -> Finding:
    """Why there is no verdict. Too little traffic for very long is something that people must know."""
    minimum = settings.window_minimum
    if items + trained >= minimum:
        said = f"{trained} of {items + trained} distinct items are training files; {minimum} others are needed"
        return findings.inconclusive(Cause.TRAINED, said)
    if window.closed_by is ClosedBy.AGE:
        hours = settings.window_oldest_seconds / 3600
        return findings.inconclusive(
            Cause.AGE, f"nothing could be evaluated for {hours:.0f} h: {items} of {minimum} items"
        )
    cause = Cause.SWITCH if window.closed_by is ClosedBy.SWITCH else Cause.THIN
    why = "another model took over" if cause is Cause.SWITCH else "its time was up"
    return findings.inconclusive(cause, f"{items} distinct items when {why}; {minimum} are needed")


def _schema_problem(items: "pd.DataFrame", window: Window, base: Baseline) -> str | None:
    """Why the window's features are not the reference's; None if they are."""
    widths = {len(values) for values in items["features"]}
    wanted = base.reference
    if widths != {len(wanted.columns)}:
        return f"rows have {sorted(widths)} features and the reference {len(wanted.columns)}"
    if wanted.feature_set_version not in ("", window.epoch.feature_set_version):
        ours, theirs = window.epoch.feature_set_version, wanted.feature_set_version
        return f"rows were made by version {ours} of the features and the reference by {theirs}"
    return None


def _finite(values: list[float] | None) -> bool:
    return values is not None and bool(np.isfinite(values).all())


def is_bad(level: Level | None, cause: str | None) -> bool:
    """Whether a property's check fails: drift suspected or detected, or no verdict for a reason somebody must fix."""
    broken = level is Level.INCONCLUSIVE and cause in {Cause.NO_REFERENCE, Cause.SCHEMA, Cause.AGE}
    return broken or level in {Level.SUSPECTED, Level.DETECTED}
