"""From rows of the log to a verdict in the database; bad inputs each have their outcome."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from genre_assets.audio.decoding.cut import Cut
from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.models.data import training
from genre_assets.models.tuning import fit
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Cause, Property
from genre_assets.serving.drift.shadow import IdleModels
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.drift.windows import Rules
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.serving.drift.data import COLUMNS, START, log_rows, reference_frame

LATER = START + timedelta(hours=2)


@pytest.fixture
def settings(s3_settings: Settings) -> Settings:
    return s3_settings.model_copy(update={"window_size": 32, "window_minimum": 24})


def write_reference(store: ObjectStore, settings: Settings, version: int, frame: pd.DataFrame | None = None) -> None:
    table = reference_frame() if frame is None else frame
    store.write_parquet(settings.serving_bucket, f"reference/version={version}/part.parquet", table)


def judged(database: Database, store: ObjectStore, settings: Settings, rows: list[Row]) -> list[DriftResult]:
    request_log.insert(database, rows)
    window_store.cut(database, Rules.from_settings(settings), LATER)
    return list(evaluate.evaluate_waiting(database, store, settings))


def cause(result: DriftResult) -> str | None:
    value = result.findings[Property.FEATURE_DRIFT].values.get("cause")
    return None if value is None else str(value)


def test_clean_and_drifted_windows_get_their_levels(database: Database, store: ObjectStore, settings: Settings) -> None:
    write_reference(store, settings, 1)
    rows = log_rows(32, seed=5) + log_rows(32, seed=2, shift=0.8, start=START + timedelta(minutes=1))
    clean, drifted = judged(database, store, settings, rows)
    assert clean.level is not Level.DETECTED
    assert drifted.level is Level.DETECTED
    assert drifted.reference_version == 1
    assert "drift in 32 items" in drifted.reason
    assert drifted.findings[Property.FEATURE_DRIFT].values["false_alarm_rate"] == 0.01


def test_the_fallbacks_windows_are_compared_with_the_champion_that_a_new_release_brings(
    database: Database, store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learned what drifted: by the old champion's rows its windows would drift for ever, and it would never serve."""
    write_reference(store, settings, 1)
    learned = reference_frame()
    learned[list(COLUMNS)] *= np.float32(np.exp(0.8))
    write_reference(store, settings, 4, learned)
    monkeypatch.setattr(IdleModels, "version", lambda *_: 4)
    rows = log_rows(32, shift=0.8) + log_rows(
        32, seed=1, shift=0.8, route="fallback", version=5, start=START + timedelta(minutes=1)
    )
    before, after = judged(database, store, settings, rows)
    assert (before.reference_version, before.level) == (1, Level.DETECTED)
    assert after.reference_version == 4
    assert after.level is not Level.DETECTED


def test_the_fallbacks_windows_are_compared_with_the_champions_training_data(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    for version in (1, 2, 3):
        write_reference(store, settings, version)
    after = START + timedelta(minutes=1)
    rows = log_rows(32, version=2) + log_rows(32, seed=1, route="fallback", version=1, start=after)
    assert [j.reference_version for j in judged(database, store, settings, rows)] == [2, 2]


def test_without_any_reference_a_window_is_inconclusive_and_its_check_fails(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    (only,) = judged(database, store, settings, log_rows(32))
    assert (only.level, cause(only)) == (Level.INCONCLUSIVE, Cause.NO_REFERENCE)
    assert evaluate.is_bad(only.level, cause(only))


def test_a_broken_reference_is_inconclusive_with_the_reason(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    write_reference(store, settings, 1, reference_frame().drop(columns="recording"))
    (only,) = judged(database, store, settings, log_rows(32))
    assert cause(only) == Cause.NO_REFERENCE
    assert "recording" in only.reason


def test_another_number_of_features_is_inconclusive(database: Database, store: ObjectStore, settings: Settings) -> None:
    write_reference(store, settings, 1, reference_frame().drop(columns="f3"))
    (only,) = judged(database, store, settings, log_rows(32))
    assert cause(only) == Cause.SCHEMA
    assert "12" in only.reason
    assert "11" in only.reason


def test_another_version_of_the_feature_code_is_inconclusive(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    """The reference is as training writes it, which says whose rows they are; the log's rows are of version 1."""
    write_reference(store, settings, 1, trained_reference("1"))
    write_reference(store, settings, 2, trained_reference("2"))
    later = START + timedelta(minutes=1)
    same, other = judged(database, store, settings, log_rows(32) + log_rows(32, seed=1, version=2, start=later))
    assert cause(same) != Cause.SCHEMA
    assert cause(other) == Cause.SCHEMA
    assert "made by version 1 of the features and the reference by 2" in other.reason
    assert evaluate.is_bad(other.level, cause(other))


def trained_reference(feature_set_version: str) -> pd.DataFrame:
    """What `fit.reference` makes of a training set of the features of this version."""
    made = reference_frame()
    recordings = made["recording"].tolist()
    segments = made.groupby("recording").cumcount()
    rows = made[[*COLUMNS, "genre", "recording"]].assign(
        key=recordings, fingerprint=recordings, segment=segments, split="train"
    )
    data = training.build(
        rows,
        COLUMNS,
        feature_set="default",
        feature_set_version=feature_set_version,
        cut=Cut(30.0, 10.0, "start", 1.0),
        labels=GENRES,
    )
    answers = np.full((len(data.frame), len(GENRES)), 1 / len(GENRES))
    return fit.reference(SimpleNamespace(out_of_fold=answers), data)  # type: ignore[arg-type]


def test_a_window_cut_short_by_a_promotion_is_thin_and_alarms_nobody(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    write_reference(store, settings, 1)
    after = START + timedelta(minutes=1)
    rows = log_rows(10, shift=3.0) + log_rows(32, seed=1, route="fallback", version=2, start=after)
    short, _ = judged(database, store, settings, rows)
    assert (short.level, cause(short)) == (Level.INCONCLUSIVE, Cause.SWITCH)
    assert not evaluate.is_bad(short.level, cause(short))


def test_a_window_that_a_promotion_cut_above_the_minimum_is_judged(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    write_reference(store, settings, 1)
    after = START + timedelta(minutes=1)
    rows = log_rows(25, shift=0.8) + log_rows(32, seed=1, route="fallback", version=2, start=after)
    short, _ = judged(database, store, settings, rows)
    assert (short.window.items, short.level) == (25, Level.DETECTED)


def test_errors_and_bad_features_are_data_quality_and_not_drift(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    write_reference(store, settings, 1)
    rows = log_rows(10, seed=3, error_code="UNDECODABLE") + log_rows(34, seed=4, start=START + timedelta(minutes=1))
    for row in rows[10:12]:
        assert row.features
        row.features[0] = float("nan")
    (only,) = judged(database, store, settings, rows)
    quality = only.findings[Property.DATA_QUALITY]
    assert quality.level == Level.DETECTED
    assert quality.values["errors"] == {"UNDECODABLE": 10}
    assert quality.values["unsound"] == 2
    assert only.level is not Level.DETECTED


def test_a_model_of_fewer_genres_is_judged_by_its_features_alone(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    write_reference(store, settings, 1)
    rows = [Row(**{**row.__dict__, "probabilities": [0.5, 0.5]}) for row in log_rows(32, seed=5)]
    (only,) = judged(database, store, settings, rows)
    assert only.level is Level.OK
    assert only.findings[Property.CONFIDENCE].values == {"cause": Cause.NO_ANSWERS}


def test_the_fallbacks_answers_are_compared_with_its_own_out_of_fold_answers(
    database: Database, store: ObjectStore, settings: Settings
) -> None:
    """A fallback that is always less sure than the champion is not therefore unusually unsure."""
    write_reference(store, settings, 1)
    timid = reference_frame()
    for name in [c for c in timid.columns if c.startswith("prob_")]:
        timid[name] = timid[name].where(timid[name] < 0.5, 0.3).where(timid[name] > 0.5, 0.7 / 9)
    write_reference(store, settings, 2, timid)
    answers = [
        Row(**{**row.__dict__, "probabilities": [0.3 if p > 0.5 else 0.7 / 9 for p in row.probabilities or []]})
        for row in log_rows(32, seed=5, route="fallback", version=2, start=START + timedelta(minutes=1))
    ]
    _, fallback = judged(database, store, settings, log_rows(32, seed=4) + answers)
    assert fallback.reference_version == 1
    assert fallback.findings[Property.CONFIDENCE].level == Level.OK
    assert fallback.findings[Property.CONFIDENCE].values["usual"] == pytest.approx(0.3)


def test_a_judged_window_is_not_judged_again(database: Database, store: ObjectStore, settings: Settings) -> None:
    write_reference(store, settings, 1)
    assert len(judged(database, store, settings, log_rows(32))) == 1
    assert list(evaluate.evaluate_waiting(database, store, settings)) == []
