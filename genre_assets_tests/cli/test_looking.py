"""Windows, quarantine and logs from a terminal, over a real database and object store."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from genre_assets import keys
from genre_assets.audio.tables import inventory
from genre_assets.cli import app
from genre_assets.cli.data import quarantine
from genre_assets.cli.serving import windows
from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame


@pytest.fixture
def settings(
    database: Database, store: ObjectStore, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    update = {"window_size": 32, "window_minimum": 24, "database_url": SecretStr(database.url)}
    mine = s3_settings.model_copy(update=update)
    keep_ten(store, mine)
    for command in (windows, quarantine):
        monkeypatch.setattr(command, "stack_settings", lambda *_: mine)
    return mine


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_windows_are_listed_with_their_level_and_reason(
    settings: Settings, database: Database, store: ObjectStore
) -> None:
    assert said("windows") == "no window has been evaluated yet\n"
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    request_log.insert(database, log_rows(32, seed=4))
    window_store.cut(database, Rules.from_settings(settings), START + timedelta(minutes=10))
    assert len([*evaluate.evaluate_waiting(database, store, settings)]) == 1
    first, second = said("windows").splitlines()
    assert first.startswith("2026-11-01 12:00:03  ok: champion version 1, 32 items, window ")
    assert second.startswith("    no drift in 32 items (p = ")
    (window,) = json.loads(said("windows", "--json"))
    assert first.endswith(f" {window['id']}")
    assert (window["level"], window["items"], window["findings"]["feature_drift"]["level"]) == ("ok", 32, "ok")


def test_the_quarantine_is_listed_with_its_reasons(settings: Settings, store: ObjectStore) -> None:
    assert said("quarantine") == "every file is used\n"
    bad = {"key": "jazz/\x1b[31mbad.wav", "verdict": "too_short", "detail": "0.2 s", "last_modified": START}
    frame = inventory.table([{**dict.fromkeys(inventory.COLUMNS, 0), **bad}])
    store.write_parquet(settings.features_bucket, keys.quarantine("jazz"), frame)
    assert said("quarantine") == "s3://genre-raw/jazz/\\x1b[31mbad.wav: too_short: 0.2 s\n"
    (row,) = json.loads(said("quarantine", "--json"))
    assert (row["genre"], row["address"]) == ("jazz", "s3://genre-raw/jazz/\x1b[31mbad.wav")


def test_logs_are_printed_from_their_end_and_unknown_services_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRE_HOME", str(tmp_path))
    file = tmp_path / "logs" / "triton.log"
    file.parent.mkdir()
    file.write_text("one\ntwo\nthree\n")
    assert said("logs", "triton", "-n", "2").splitlines()[:2] == ["two", "three"]
    for service, why in (("none", "there are: s3, postgres, mlflow"), ("s3", "s3 has not run in")):
        refused = CliRunner().invoke(app, ["logs", service])
        assert refused.exit_code == 1
        assert why in " ".join(refused.output.split())
