"""The asset, its checks and the sensors over a real database and object store, without a daemon."""

import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import PermanentFailure
from genre_assets.serving import prediction_log, promotion, sensors
from genre_assets.serving.assets import LiveEnsembleConfig, live_ensemble
from genre_assets.serving.control import TritonControl
from genre_assets.serving.drift import report
from genre_assets.serving.drift.assets import drift_reports
from genre_assets.serving.prediction_log import Row
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.serving.drift_data import START, log_rows, reference_frame


@pytest.fixture
def settings(s3_settings: Settings) -> Settings:
    changed = {"window_size": 32, "window_minimum": 24, "min_dwell_seconds": 0.0, "window_max_seconds": 10**9}
    return s3_settings.model_copy(update=changed)


@pytest.fixture
def platform(
    database: Database, store: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Resources, with a reference and a first release; Evidently's page is replaced (its import takes seconds)."""
    monkeypatch.setattr(report, "evidently_page", lambda columns, *_: f"<html>{columns}</html>")
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    promotion.confirm(database, "champion", actor="build", reason="first release")
    database.execute("UPDATE route_state SET decided_at = %s", (START,))
    silent = TritonControl("127.0.0.1:1")
    return {"database": database, "store": store, "settings": settings, "triton": silent}


def run_drift(platform: dict[str, Any], rows: Sequence[Row]) -> dg.ExecuteInProcessResult:
    prediction_log.insert(platform["database"], rows)
    return dg.materialize([drift_reports], resources=platform, raise_on_error=True)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("drift_reports")
    return {name: value.value for name, value in event.metadata.items()}


def test_a_drifted_window_fails_the_check_with_its_numbers(platform: dict[str, Any]) -> None:
    result = run_drift(platform, log_rows(32, shift=0.8))
    drift = checks(result)["feature_drift"]
    assert not drift.passed
    assert drift.severity is dg.AssetCheckSeverity.ERROR
    assert float(str(drift.metadata["p_value"].value)) <= 0.01
    assert checks(result)["data_quality"].passed


def test_a_clean_window_passes_every_check(platform: dict[str, Any]) -> None:
    result = run_drift(platform, log_rows(32, seed=5))
    assert all(evaluation.passed for evaluation in checks(result).values())
    assert metadata(result)["windows"] == 1


def test_the_log_is_materialised_with_each_window(platform: dict[str, Any]) -> None:
    prediction_log.insert(platform["database"], log_rows(32))
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([drift_reports], resources=platform, instance=instance)
        event = instance.get_latest_materialization_event(dg.AssetKey("served_requests"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["rows"].value == 32


def test_report_and_plots_are_kept_and_linked(platform: dict[str, Any]) -> None:
    found = metadata(run_drift(platform, log_rows(64, shift=0.8)))
    key = found["report"].removeprefix(f"s3://{platform['settings'].serving_bucket}/")
    assert key.endswith("report.html")
    assert platform["store"].get_bytes(platform["settings"].serving_bucket, key).startswith(b"<html>")
    numbers = platform["store"].read_json(platform["settings"].serving_bucket, key.replace(".html", ".json"))
    assert numbers["level"] == "detected"
    assert len(list(platform["store"].list(platform["settings"].serving_bucket, "drift/"))) == 3, "two JSON, one page"
    for plot in ("alarm_history", "drifted_features", "genre_mix", "confidence"):
        assert found[plot].startswith("![")


def test_windows_that_waited_together_are_told_one_by_one(platform: dict[str, Any]) -> None:
    prediction_log.insert(platform["database"], log_rows(96, shift=0.8))
    key = dg.AssetCheckKey(dg.AssetKey("drift_reports"), "feature_drift")
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([drift_reports], resources=platform, instance=instance)
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        told = [record.evaluation for record in history if record.evaluation]
        events = instance.fetch_materializations(dg.AssetKey("drift_reports"), limit=10).records
    assert [evaluation.passed for evaluation in told] == [False] * 3
    assert len({str(evaluation.metadata["window"].value) for evaluation in told}) == 3
    assert len(events) == 3


def test_the_checks_are_told_before_the_page_is_drawn(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("drift_reports"), "feature_drift")
    prediction_log.insert(platform["database"], log_rows(32, shift=0.8))
    with dg.DagsterInstance.ephemeral() as instance:
        told: list[int] = []

        def page(*_: object) -> str:
            told.append(len(instance.event_log_storage.get_asset_check_execution_history(key, limit=10)))
            return "<html>"

        monkeypatch.setattr(report, "evidently_page", page)
        dg.materialize([drift_reports], resources=platform, instance=instance)
    assert told == [1]


def test_no_window_yet_is_no_failure(platform: dict[str, Any]) -> None:
    result = run_drift(platform, log_rows(5))
    assert all(evaluation.passed for evaluation in checks(result).values())
    assert metadata(result)["windows"] == 0


def test_the_verdict_stands_when_the_page_cannot_be_made(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no page today")

    monkeypatch.setattr(report, "evidently_page", broken)
    result = run_drift(platform, log_rows(64, shift=0.8))
    assert result.success
    assert not checks(result)["feature_drift"].passed
    assert promotion.standing(platform["database"]).wanted == "fallback"


def test_the_checks_are_told_when_the_plots_cannot_be_made(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no plot today")

    monkeypatch.setattr(report, "alarm_history", broken)
    result = run_drift(platform, log_rows(32, shift=0.8))
    assert result.success
    assert not checks(result)["feature_drift"].passed


def test_the_real_evidently_page_is_made() -> None:
    frame = reference_frame()[["f0", "f1"]].to_numpy("float32")
    page = report.evidently_page(["f0", "f1"], frame, frame[:32])
    assert "<html" in page[:200].lower()


def tick(sensor: Any, platform: dict[str, Any], instance: dg.DagsterInstance) -> Any:
    context = dg.build_sensor_context(instance=instance, resources=platform)
    return sensor(context)


def test_a_full_window_asks_for_one_run_until_it_is_judged(platform: dict[str, Any]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(tick(sensors.new_drift_window, platform, instance), dg.SkipReason)
        prediction_log.insert(platform["database"], log_rows(32))
        first, again = (tick(sensors.new_drift_window, platform, instance) for _ in range(2))
        assert first.run_key == again.run_key
        run_drift(platform, [])
        assert isinstance(tick(sensors.new_drift_window, platform, instance), dg.SkipReason)


def start_run(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun("promote", run_id=str(uuid.uuid4()), status=status, tags=request.tags))


def test_drift_asks_for_one_promotion_and_again_only_after_it_failed(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genre_assets.serving.run_requests.FIRST_PAUSE", timedelta())
    run_drift(platform, log_rows(64, shift=0.8))
    with dg.DagsterInstance.ephemeral() as instance:
        request = tick(sensors.promotion_due, platform, instance)
        assert request.run_config["ops"]["live_ensemble"]["config"]["route"] == "fallback"
        assert tick(sensors.promotion_due, platform, instance).run_key == request.run_key
        start_run(instance, request, dg.DagsterRunStatus.STARTED)
        assert isinstance(tick(sensors.promotion_due, platform, instance), dg.SkipReason)
    with dg.DagsterInstance.ephemeral() as instance:
        start_run(instance, request, dg.DagsterRunStatus.FAILURE)
        assert tick(sensors.promotion_due, platform, instance).run_key != request.run_key
        promotion.confirm(platform["database"], "fallback", actor="drift", reason="")
        assert isinstance(tick(sensors.promotion_due, platform, instance), dg.SkipReason)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run's own code follows it."""


def test_a_persons_promotion_killed_after_the_switch_is_asked_for_again_and_booked_once(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("genre_assets.serving.assets.go_live", killed)
    config = LiveEnsembleConfig(route="fallback", reason="noise", actor="person", pinned=True)
    triton = TritonControl("127.0.0.1:1")
    with pytest.raises(Killed):
        live_ensemble(config, platform["settings"], platform["store"], platform["database"], triton)
    with dg.DagsterInstance.ephemeral() as instance:
        asked = tick(sensors.promotion_due, platform, instance).run_config["ops"]["live_ensemble"]["config"]
    assert (asked["route"], asked["actor"], asked["reason"], asked["pinned"]) == ("fallback", "person", "noise", True)
    for _ in range(2):
        promotion.confirm(platform["database"], "fallback", actor="person", reason="noise", pinned=asked["pinned"])
    (row,) = audit.history(platform["database"], subject="route")
    assert (row.moved_to, row.actor) == ("fallback", "person")
    serving = promotion.standing(platform["database"]).serving
    assert serving is not None
    assert serving.pinned


def test_a_persons_promotion_that_is_refused_leaves_no_open_move(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermanentFailure("it does not load")

    monkeypatch.setattr("genre_assets.serving.assets.go_live", refused)
    config = LiveEnsembleConfig(route="fallback", reason="noise", actor="person")
    with pytest.raises(PermanentFailure):
        live_ensemble(
            config, platform["settings"], platform["store"], platform["database"], TritonControl("127.0.0.1:1")
        )
    assert promotion.standing(platform["database"]).due is None


def test_the_asked_for_configuration_is_one_that_live_ensemble_takes(platform: dict[str, Any]) -> None:
    run_drift(platform, log_rows(64, shift=0.8))
    with dg.DagsterInstance.ephemeral() as instance:
        request = tick(sensors.promotion_due, platform, instance)
    config = LiveEnsembleConfig(**json.loads(json.dumps(request.run_config["ops"]["live_ensemble"]["config"])))
    assert config.route == "fallback"
    assert len(config.evidence["windows"]) == 2


def test_clean_windows_of_the_fallback_ask_for_the_champion(platform: dict[str, Any]) -> None:
    run_drift(platform, log_rows(64, shift=0.8))
    promotion.confirm(platform["database"], "fallback", actor="drift", reason="")
    platform["database"].execute("UPDATE route_state SET decided_at = %s", (START + timedelta(minutes=1),))
    later = START + timedelta(minutes=2)
    run_drift(platform, log_rows(128, seed=4, start=later, route="fallback", version=2))
    with dg.DagsterInstance.ephemeral() as instance:
        request = tick(sensors.promotion_due, platform, instance)
    assert request.run_config["ops"]["live_ensemble"]["config"]["route"] == "champion"


HEAD = b"request_id,item,genre\n"
BAD_LABELS: dict[str, tuple[bytes, str]] = {
    "out-of-range": (HEAD + b"q,99999999999,rock\n", "line 2: item '99999999999' is no number"),
    "superscript": (HEAD + "q,0,rock\nq,²,rock\n".encode(), "line 3: item '²' is no number"),
    "nul": (HEAD + b"q\0,0,rock\n", "line 2: there is a NUL character"),
    "long-field": (HEAD + b"x" * 140_000 + b",0,rock\n", "line 2: this is no CSV"),
    "long-id": (HEAD + b"x" * 500 + b",0,rock\n", "line 2: request_id must have 1 to 200 characters"),
    "open-quote": (HEAD + b'"q,0,rock\n', "this is no CSV"),
    "latin-1": (HEAD + b"q,0,rock\ncaf\xe9,0,rock\n", "line 3: the text is not UTF-8"),
    "utf-16": ("request_id,item,genre\n".encode("utf-16"), "UTF-16"),
    "empty": (b"", "the file is empty"),
    "large": (HEAD + b"q,0,rock\n" * 600_000, "5 MB are the most"),
    "columns": (b"request_id,genre\nq,rock\n", "the columns item are missing"),
    "short-row": (HEAD + b"q\nq,0\n,0,rock\n", "line 4: request_id"),
}


def test_label_files_that_cannot_be_read_are_named_and_stop_no_drift_run(
    platform: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    store, bucket = platform["store"], platform["settings"].raw_bucket
    for name, (data, _) in BAD_LABELS.items():
        store.put_bytes(bucket, f"labels/{name}.csv", data)
    store.put_bytes(bucket, "labels/sub/", b"")
    store.put_bytes(bucket, "labels/list.xlsx", b"PK")
    store.put_bytes(bucket, "labels/good-excel.csv", b"\xef\xbb\xbfrequest_id;item;genre\r\nq0;0;rock\r\n")
    store.put_bytes(bucket, "labels/good-lone-cr.csv", b"request_id,item,genre\rq1,0,rock\r")
    result = run_drift(platform, log_rows(32, seed=5))
    said = capfd.readouterr().err
    assert result.success
    assert checks(result)["feature_drift"].passed
    assert metadata(result)["new_labels"] == 2
    left_out = {str(row.data["file"]): str(row.data["why"]) for row in table(result)}
    assert set(left_out) == {*(f"labels/{name}.csv" for name in BAD_LABELS), "labels/list.xlsx"}
    for name, (_, why) in BAD_LABELS.items():
        assert why in left_out[f"labels/{name}.csv"]
        assert f"labels/{name}.csv is left out" in said
    again = run_drift(platform, [])
    assert len(table(again)) == len(left_out), "shown as long as the files are there"


def table(result: dg.ExecuteInProcessResult) -> list[dg.TableRecord]:
    return list(metadata(result)["warning: label files left out"].records)
