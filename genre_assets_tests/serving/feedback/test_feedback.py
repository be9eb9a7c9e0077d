"""What comes back: labels, the list for labelling, requests to train again, windows judged anew, shadow scores."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genre_assets import labels as label_set
from genre_assets.database import Database
from genre_assets.errors import BadInput, TransientFailure
from genre_assets.genres import GENRES
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.labels import of_names
from genre_assets.serving.drift import evaluate, null, reference, shadow, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.windows import Rules as WindowRules
from genre_assets.serving.feedback import backfill, label_lists, labels, review
from genre_assets.serving.promotion import retraining_requests
from genre_assets.serving.promotion.policy import Decision, Rules
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.labelled import TEN, keep_ten
from genre_assets_tests.serving.drift.data import START, features, log_rows, reference_frame

LATER = START + timedelta(minutes=10)


@pytest.fixture
def settings(s3_settings: Settings) -> Settings:
    return s3_settings.model_copy(update={"window_size": 32, "window_minimum": 24, "window_max_seconds": 1e9})


@pytest.fixture
def platform(database: Database, store: ObjectStore, settings: Settings) -> tuple[Database, ObjectStore, Settings]:
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    keep_ten(store, settings)
    return database, store, settings


def serve(platform: tuple[Database, ObjectStore, Settings], rows: list[Row]) -> list[str]:
    """Log the rows, evaluate the windows that they complete."""
    database, store, settings = platform
    request_log.insert(database, rows)
    window_store.cut(database, WindowRules.from_settings(settings), LATER)
    return [judged.window.id for judged in evaluate.evaluate_waiting(database, store, settings)]


def labelled(database: Database) -> dict[str, Any]:
    return window_store.newest(database)[0].findings[Property.LABELLED_ACCURACY].as_json()


def put_labels(store: ObjectStore, settings: Settings, name: str, lines: list[str]) -> None:
    text = "\n".join(["request_id,item,genre", *lines])
    store.put_bytes(settings.raw_bucket, f"labels/{name}.csv", text.encode())


def test_labels_that_come_late_are_joined_to_their_window(platform: tuple[Database, ObjectStore, Settings]) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    serve(platform, rows)
    assert labelled(database)["level"] == Level.INCONCLUSIVE
    right = [f"{r.request_id},0,{r.label}" for r in rows[:15]]
    wrong = [f"{r.request_id},0,{GENRES[(GENRES.index(str(r.label)) + 1) % 10]}" for r in rows[15:20]]
    put_labels(store, settings, "first", right + wrong)
    assert labels.take_new(database, store, settings).labels == 20
    assert len(labels.update_windows(database)) == 1
    assert labelled(database)["values"]["accuracy"] == 0.75
    assert labelled(database)["values"]["labelled"] == 20
    assert "estimate_error" in labelled(database)["values"]
    assert labels.take_new(database, store, settings).labels == 0, "a file is taken once"
    assert labels.update_windows(database) == []


def test_a_corrected_label_file_is_taken_again(platform: tuple[Database, ObjectStore, Settings]) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    serve(platform, rows)
    put_labels(store, settings, "f", [f"{r.request_id},0,rock" for r in rows])
    labels.take_new(database, store, settings)
    labels.update_windows(database)
    put_labels(store, settings, "f", [f"{r.request_id},0,{r.label}" for r in rows])
    labels.take_new(database, store, settings)
    labels.update_windows(database)
    assert labelled(database)["values"]["accuracy"] == 1.0


def test_a_label_file_that_cannot_be_read_is_told_and_stops_nothing(
    platform: tuple[Database, ObjectStore, Settings],
) -> None:
    database, store, settings = platform
    put_labels(store, settings, "a-bad", ["q,0,polka"])
    put_labels(store, settings, "b-good", ["q,0,rock"])
    store.put_bytes(settings.raw_bucket, "labels/c-binary.csv", b"\xff\xfe\x00")
    taken = labels.take_new(database, store, settings)
    assert taken.labels == 1
    assert "line 2" in taken.problems["labels/a-bad.csv"]
    assert "labels/c-binary.csv" in taken.problems
    assert labels.take_new(database, store, settings).problems == {}, "told once"
    label_set.keep(store, settings, TEN.with_labels(["polka"]))
    assert labels.take_new(database, store, settings).labels == 1, "its label is known now"


def test_a_list_that_is_filled_in_comes_back(platform: tuple[Database, ObjectStore, Settings], tmp_path: Path) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    rows[5] = Row(**{**rows[5].__dict__, "confidence": 0.11, "format": "wav", "duration_s": 31.25, "tag": "kiosk"})
    serve(platform, rows)
    found = review.candidates(database, store, settings, limit=4)
    assert (found[0].fingerprint, found[0].duration_s, found[0].tag) == (rows[5].fingerprint, 31.2, "kiosk")
    assert (found[0].address, found[0].listen) == ("", "")
    path = tmp_path / "list.csv"
    review.write_list(path, found)
    with pytest.raises(BadInput, match="no row has a genre"):
        label_lists.take_labels(path, store, settings)
    with path.open() as file:
        filled = list(csv.DictReader(file))
    filled[0]["genre"] = " Jazz "
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, filled[0].keys())
        writer.writeheader()
        writer.writerows(filled)
    key, count = label_lists.take_labels(path, store, settings)
    assert (key.startswith("labels/"), count) == (True, 1)
    assert labels.take_new(database, store, settings).labels == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2", "missing"),
        ("request_id,item,genre\nq,0,polka", "line 2"),
        ("request_id,item,genre\nq,x,rock", "item 'x'"),
    ],
)
def test_a_bad_label_list_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        label_lists.read_labels(text.encode(), "list.csv", of_names(GENRES))


def test_drift_under_the_fallback_asks_for_training_once_until_a_new_version_serves(
    platform: tuple[Database, ObjectStore, Settings],
) -> None:
    database, *_ = platform
    serve(platform, log_rows(32, seed=4))
    decision = Decision(None, "2 of the last 3 windows drifted under the fallback too", ("a", "b"), retrain=True)
    first = retraining_requests.update(database, decision, Rules())
    again = retraining_requests.update(database, decision, Rules())
    assert first is not None
    assert first == again
    assert first.evidence == {"windows": ["a", "b"]}
    assert retraining_requests.update(database, Decision(None, ""), Rules()) == first, "it waits"
    serve(platform, log_rows(32, seed=5, version=2, start=START + timedelta(minutes=1)))
    assert retraining_requests.update(database, Decision(None, ""), Rules()) is None


def test_low_estimated_accuracy_asks_for_training(platform: tuple[Database, ObjectStore, Settings]) -> None:
    database, *_ = platform
    unsure = [
        Row(**{**row.__dict__, "probabilities": [0.19] + [0.09] * 9, "confidence": 0.19})
        for row in log_rows(64, seed=4)
    ]
    serve(platform, unsure)
    request = retraining_requests.update(database, None, Rules())
    assert request is not None
    assert "estimated accuracy" in request.reason


def test_backfill_judges_past_windows_anew_and_says_what_changed(
    platform: tuple[Database, ObjectStore, Settings],
) -> None:
    database, store, settings = platform
    ids = serve(platform, log_rows(64, seed=4))
    database.execute("UPDATE drift_windows SET level = 'detected' WHERE id = %s", (ids[0],))
    database.execute("UPDATE drift_windows SET judged_at = NULL, level = NULL WHERE id = %s", (ids[1],))
    seen: list[str] = []
    done = backfill.backfill(database, store, settings, on_window=lambda judged: seen.append(judged.window.id))
    assert seen == ids
    assert (done.evaluated, [change[:2] for change in done.changed]) == (2, [(ids[0], "detected")])
    assert len(list(store.list(settings.serving_bucket, "drift/"))) == 2
    assert backfill.backfill(database, store, settings).changed == ()
    assert backfill.backfill(database, store, settings, since=datetime.now(UTC) + timedelta(days=1)).evaluated == 0


class Idle:
    """Stands for the release's models."""

    def __init__(self, answer: np.ndarray | Exception, version: int | None = 2) -> None:
        self.answer = answer
        self.of = version

    def version(self, route: str) -> int | None:
        return self.of

    def probabilities(self, version: int, values: np.ndarray) -> np.ndarray:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer[: len(values)]


def shadowed(idle: Any) -> Any:
    base = null.baseline(reference.from_frame(reference_frame()), resamples=19)
    served = np.eye(10, dtype=np.float32)[np.arange(32) % 10]
    return shadow.score(idle, "champion", features(32, np.random.default_rng(1)), served, lambda _: base)


def test_the_idle_model_is_scored_on_the_same_items() -> None:
    other = np.full((32, 10), 0.05, np.float32)
    other[np.arange(32), np.where(np.arange(32) < 24, np.arange(32) % 10, (np.arange(32) + 1) % 10)] = 0.55
    found = shadowed(Idle(other))
    assert found.values["agreement"] == 0.75
    assert (found.values["version"], found.values["items"]) == (2, 32)
    assert found.values["low"] < found.values["accuracy"] < found.values["high"]


@pytest.mark.parametrize(
    "problem", [TransientFailure("S3 is away"), FileNotFoundError("no release"), ValueError("shape")]
)
def test_an_idle_model_that_cannot_be_asked_is_inconclusive(problem: Exception) -> None:
    assert shadowed(Idle(problem)).level is Level.INCONCLUSIVE
    assert shadowed(Idle(np.zeros((1, 10)), version=None)).level is Level.INCONCLUSIVE
