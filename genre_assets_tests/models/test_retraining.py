"""When the platform trains again on its own: every trigger, every brake, and the sensor around them."""

import time
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from genre_assets.audio import groups
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.data import training_store
from genre_assets.models.retraining import HOUR, Decision, Rules, Situation, decide
from genre_assets.models.sensors import retraining_gate
from genre_assets.serving.promotion.retraining_requests import drifted_since
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import synthetic_rows, synthetic_training_set
from genre_assets_tests.models.test_assets import put_features

RULES = Rules(min_new_clips=10, cooldown_seconds=900, every_hours=24, drift_hours=6)
NOW = 1_000_000.0


def situation(**changes: Any) -> Situation:
    quiet: dict[str, Any] = {
        "now": NOW, "new_clips": 0, "trained_at": NOW - HOUR, "drifted_since": None, "running": False, "last_request": None,
    }  # fmt: skip
    return Situation(**{**quiet, **changes})


@pytest.mark.parametrize(
    ("changes", "requested", "reason"),
    [
        ({}, False, "0 new clips of 10"),
        ({"new_clips": 9}, False, "9 new clips of 10"),
        ({"new_clips": 10}, True, "10 labelled clips are new"),
        ({"new_clips": 12, "of_clients": 7}, True, "12 labelled clips (7 of them of clients) are new"),
        ({"trained_at": NOW - 25 * HOUR}, True, "on schedule: the training set is 25.0 h old"),
        ({"trained_at": NOW - 23 * HOUR}, False, "0 new clips"),
        ({"drifted_since": NOW - 7 * HOUR, "trained_at": NOW - 8 * HOUR}, True, "sustained drift, for 7.0 h"),
        ({"drifted_since": NOW - 5 * HOUR, "trained_at": NOW - 8 * HOUR}, False, "0 new clips"),
        ({"drifted_since": NOW - 7 * HOUR, "trained_at": NOW - 2 * HOUR}, False, "0 new clips"),
        ({"new_clips": 50, "running": True}, False, "is running or queued"),
        ({"new_clips": 50, "last_request": NOW - 100}, False, "cool-down lasts another 800 s"),
        ({"new_clips": 50, "last_request": NOW - 901}, True, "50 labelled clips"),
        ({"new_clips": 50, "trained_at": None}, False, "nothing has been built yet"),
    ],
)
def test_a_retraining_is_requested_for_a_reason_only(changes: dict[str, Any], requested: bool, reason: str) -> None:
    decision = decide(situation(**changes), RULES)
    assert decision.request is requested
    assert reason in decision.reason


def test_triggers_that_are_switched_off_do_not_fire() -> None:
    off = Rules(min_new_clips=10, cooldown_seconds=900)
    old = situation(trained_at=0.0, drifted_since=1.0)
    assert decide(old, off) == Decision(False, "0 new clips of 10 that are worth a retraining")


def test_ten_genres_that_change_within_minutes_are_one_retraining() -> None:
    last, requests = None, 0
    for tick in range(60):  # a genre gets twelve clips every 30 s, and training takes no time at all
        now = NOW + 10 * tick
        decision = decide(situation(now=now, new_clips=12 * min(10, 1 + tick // 3), last_request=last), RULES)
        if decision.request:
            last, requests = now, requests + 1
    assert requests == 1


def test_new_recordings_are_counted_against_the_training_set(store: ObjectStore, small: Settings) -> None:
    put_features(store, small, synthetic_rows())
    assert training_store.news(store, small) == training_store.News()
    training_store.write(store, small, synthetic_training_set())
    assert training_store.news(store, small) == training_store.News()
    more = synthetic_rows(2, seed=1, genres=("jazz", "rock"))
    more["key"] = [key.replace("jazz/", "jazz/clients/") for key in more["key"]]
    put_features(store, small, pd.concat([synthetic_rows(), more]))
    assert training_store.news(store, small) == training_store.News(recordings=4, of_clients=2)


def test_features_of_an_older_extractor_are_not_trained_on(store: ObjectStore, small: Settings) -> None:
    put_features(store, small, synthetic_rows())
    key = "features/gtzan37/genre=jazz/manifest.json"
    store.write_json(small.features_bucket, key, {"feature_set_version": FEATURE_SETS["gtzan37"].version})
    assert len(training_store.read_features(store, small, GENRES)) == 120
    store.write_json(small.features_bucket, key, {"feature_set_version": "of last year"})
    with pytest.raises(BadInput, match="version of last year, the extractor makes"):
        training_store.read_features(store, small, GENRES)


def test_a_sidecar_without_its_columns_is_refused(store: ObjectStore, small: Settings) -> None:
    store.put_bytes(small.raw_bucket, "groups.csv", b"\xef\xbb\xbfkey,group\njazz/a.wav,Miles\njazz/b.wav,\n")
    assert groups.read(store, small) == {"jazz/a.wav": "Miles"}
    store.put_bytes(small.raw_bucket, "groups.csv", b"file,artist\n")
    with pytest.raises(BadInput, match=r"groups.csv: the columns key, group are missing"):
        groups.read(store, small)
    store.put_bytes(small.raw_bucket, "groups.csv", b"key,group\njazz/a.wav,Andr\xe9\n")
    with pytest.raises(BadInput, match=r"groups.csv, line 2: the text is not UTF-8"):
        groups.read(store, small)


@pytest.fixture
def tick(store: ObjectStore, small: Settings, database: Database) -> Any:
    """One tick of the sensor with the given cursor, on an instance of its own."""
    instance = dg.DagsterInstance.ephemeral()

    def once(cursor: str | None = None) -> Any:
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            resources={"settings": small, "store": store, "database": database, "drifted_since": drifted_since},
        )
        return retraining_gate(context)

    return once


def test_the_sensor_requests_once_and_then_waits(tick: Any, store: ObjectStore, small: Settings) -> None:
    training_store.write(store, small, synthetic_training_set())
    put_features(store, small, pd.concat([synthetic_rows(), synthetic_rows(2, seed=1)]))
    first = tick()
    (request,) = first.run_requests
    assert request.tags["genre/reason"] == "20 labelled clips are new since the last training set"
    second = tick(first.cursor)
    assert not second.run_requests
    assert "cool-down" in second.skip_reason.skip_message


def test_the_sensor_reads_features_only_when_something_changed(
    tick: Any, store: ObjectStore, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_store.write(store, small, synthetic_training_set())
    put_features(store, small, synthetic_rows())
    first = tick()

    def fail(*_: object) -> None:
        raise AssertionError("the features were read again")

    monkeypatch.setattr(training_store, "news", fail)
    assert "0 new clips" in tick(first.cursor).skip_reason.skip_message


def test_the_sensor_waits_for_a_service_that_is_away(small: Settings, store: ObjectStore) -> None:
    away = Database("postgresql://genre@127.0.0.1:1/genre")
    training_store.write(store, small, synthetic_training_set())
    put_features(store, small, synthetic_rows())
    context = dg.build_sensor_context(
        instance=dg.DagsterInstance.ephemeral(),
        resources={"settings": small, "store": store, "database": away, "drifted_since": drifted_since},
    )
    result = retraining_gate(context)
    assert isinstance(result, dg.SkipReason)
    assert "does not answer" in str(result.skip_message)


def test_the_training_set_is_as_old_as_its_last_materialisation(store: ObjectStore, small: Settings) -> None:
    assert training_store.look(store, small).made_at is None
    training_store.write(store, small, synthetic_training_set())
    made_at = training_store.look(store, small).made_at
    assert made_at is not None
    assert abs(made_at - time.time()) < 60
