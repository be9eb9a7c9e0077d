"""The shared core: settings, object store, database, audit."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import psycopg2.errors
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput, TransientFailure
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, parse_uri, s3_client


def test_a_bad_setting_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRE_WINDOW_SIZE", "many")
    with pytest.raises(BadInput, match=r"GENRE_WINDOW_SIZE='many'.*valid integer"):
        load_settings()


def test_a_bad_secret_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("GENRE_S3_PORT=0\n")
    monkeypatch.setenv("GENRE_MLFLOW_PORT", "70000")
    with pytest.raises(BadInput, match=r"GENRE_S3_PORT.*GENRE_MLFLOW_PORT|GENRE_MLFLOW_PORT.*GENRE_S3_PORT"):
        load_settings(tmp_path)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadInput, match="GENRE_WINDOW_MINIMUM must not be above GENRE_WINDOW_SIZE"):
        load_settings(window_size=10, window_minimum=20)


def test_the_environment_wins_over_the_stack_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("GENRE_WINDOW_SIZE=96\nGENRE_TRIALS_XGBOOST=7\n")
    monkeypatch.setenv("GENRE_WINDOW_SIZE", "64")
    settings = load_settings(tmp_path)
    assert (settings.window_size, settings.trials_xgboost) == (64, 7)


def test_rows_of_the_reference_feature_set_are_whole_clips_unless_said_otherwise() -> None:
    assert load_settings(feature_set="gtzan37").segment_seconds == load_settings().max_seconds
    assert load_settings(feature_set="gtzan37", segment_seconds=5.0).segment_seconds == 5.0
    assert load_settings().segment_seconds == 10.0


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().window_size = 1


@pytest.mark.parametrize("address", ["bucket/key", "s3://bucket", "http://bucket/key", "s3:///key"])
def test_only_s3_addresses_are_parsed(address: str) -> None:
    with pytest.raises(BadInput, match="expected s3://bucket/key"):
        parse_uri(address)


def test_objects_keep_their_bytes_and_are_listed_in_order(store: ObjectStore, s3_settings: Settings) -> None:
    bucket = s3_settings.raw_bucket
    for key in ("rock/b.wav", "rock/a=1 é.wav", "pop/c.wav"):
        store.put_bytes(bucket, key, key.encode())
    assert [entry.key for entry in store.list(bucket, "rock/")] == ["rock/a=1 é.wav", "rock/b.wav"]
    assert store.get_bytes(bucket, "rock/a=1 é.wav") == "rock/a=1 é.wav".encode()
    store.delete(bucket, "rock/b.wav")
    assert not store.exists(bucket, "rock/b.wav")


def test_a_missing_object_is_a_missing_file(store: ObjectStore, s3_settings: Settings) -> None:
    with pytest.raises(FileNotFoundError, match=r"s3://genre-raw/nothing\.wav is not there"):
        store.get_bytes(s3_settings.raw_bucket, "nothing.wav")


def test_frames_come_back_as_they_were(store: ObjectStore, s3_settings: Settings) -> None:
    frame = pd.DataFrame({"key": ["a", "b"], "value": pd.array([1.5, 2.5], dtype="float32")})
    store.write_parquet(s3_settings.features_bucket, "genre=rock/part.parquet", frame)
    pd.testing.assert_frame_equal(
        store.read_parquet(s3_settings.features_bucket, "genre=rock/part.parquet"), frame, check_dtype=False
    )


def test_a_wrong_secret_is_refused_with_the_setting_to_check(s3_settings: Settings) -> None:
    wrong = s3_settings.model_copy(update={"s3_secret_key": type(s3_settings.s3_secret_key)("wrong")})
    client = s3_client(wrong)
    with pytest.raises(BadInput, match="GENRE_S3_SECRET_KEY"):
        ObjectStore(client).get_bytes(s3_settings.raw_bucket, "x")
    client.close()


def test_an_absent_s3_is_a_transient_failure(tmp_path: Path) -> None:
    client = s3_client(load_settings(tmp_path, s3_endpoint_url="http://127.0.0.1:9", s3_secret_key="x"))
    with pytest.raises(TransientFailure, match="does not answer"):
        list(ObjectStore(client).list("genre-raw"))
    client.close()


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    database.execute("CREATE TABLE t (n int)")
    with pytest.raises(RuntimeError), database.transaction() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
        raise RuntimeError("in the middle")
    assert database.rows("SELECT * FROM t") == []


def test_an_absent_database_is_a_transient_failure() -> None:
    with pytest.raises(TransientFailure, match="genre-assets status"):
        Database("postgresql://genre@127.0.0.1:9/genre").rows("SELECT 1")


def test_a_database_that_goes_away_in_a_transaction_is_a_transient_failure(database: Database) -> None:
    with pytest.raises(TransientFailure, match="went away"), database.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_what_the_database_refuses_is_no_outage(database: Database) -> None:
    database.execute("CREATE TABLE t (n int)")
    with database.transaction() as holder:
        holder.execute("LOCK TABLE t")
        with pytest.raises(psycopg2.errors.LockNotAvailable), database.transaction() as cursor:
            cursor.execute("LOCK TABLE t NOWAIT")


def test_moves_are_kept_with_their_reasons_newest_first(database: Database) -> None:
    audit.record(database, "champion", moved_from=None, moved_to="1", actor="build", reason="first")
    audit.record(
        database, "route", moved_from="champion", moved_to="fallback", actor="drift", reason="2 of 3", evidence={"w": 7}
    )
    moves = audit.history(database)
    assert [(m.subject, m.moved_to, m.evidence) for m in moves] == [
        ("route", "fallback", {"w": 7}),
        ("champion", "1", {}),
    ]
    assert moves[0].at.astimezone(UTC) <= datetime.now(UTC)
    assert [m.moved_to for m in audit.history(database, subject="champion")] == ["1"]


def test_a_move_stands_or_falls_with_the_callers_transaction(database: Database) -> None:
    audit.history(database)
    with pytest.raises(RuntimeError), database.transaction() as cursor:
        audit.record(database, "route", moved_from="a", moved_to="b", actor="t", reason="r", cursor=cursor)
        raise RuntimeError("switch failed")
    assert audit.history(database) == []


def test_a_key_that_the_server_can_have_nothing_under_is_missing(store: ObjectStore, s3_settings: Settings) -> None:
    """Keys of a ready table are whatever its author wrote: a path of some disk is no fault of S3."""
    for key in ("/home/somebody/clip.wav", "k" * 1025):
        assert not store.exists(s3_settings.raw_bucket, key)
        with pytest.raises(FileNotFoundError, match=f"s3://{s3_settings.raw_bucket}/"):
            store.get_bytes(s3_settings.raw_bucket, key)
