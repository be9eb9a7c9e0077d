"""The assets and their checks."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import dagster as dg
import pytest

from genre_assets.serving import sensors
from genre_assets.serving.drift import pages, report
from genre_assets.serving.drift_assets import drift_reports
from genre_assets.settings import Settings
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame
from genre_assets_tests.serving.drift_platform import (
    Killed,
    checks,
    definitions,
    instance,
    materialised,
    metadata,
    observed,
    platform,
    run_drift,
    settings,
    tick,
)

__all__ = ["instance", "platform", "settings"]  # fixtures


def test_a_drifted_window_fails_the_check_with_its_numbers(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    result = run_drift(platform, log_rows(32, shift=0.8), instance)
    drift = checks(instance)["feature_drift"]
    assert not drift.passed
    assert drift.severity is dg.AssetCheckSeverity.ERROR
    assert float(str(drift.metadata["p_value"].value)) <= 0.01
    assert checks(instance)["data_quality"].passed
    (event,) = materialised(instance)
    assert str(event.description).startswith("detected, champion: drift in 32 items")
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    for tags in (event.tags or {}, run.tags):
        assert (tags["genre/level"], tags["genre/route"]) == ("detected", "champion")
        assert tags["genre/window"] == drift.metadata["window"].value


def test_a_clean_window_passes_every_check(platform: dict[str, Any], instance: dg.DagsterInstance) -> None:
    run_drift(platform, log_rows(32, seed=5), instance)
    assert len(checks(instance)) == 7
    assert all(evaluation.passed for evaluation in checks(instance).values())
    assert len(materialised(instance)) == 1


def test_the_log_is_materialised_with_each_window(platform: dict[str, Any], instance: dg.DagsterInstance) -> None:
    failed = log_rows(1, seed=1, start=START + timedelta(seconds=0.05), error_code="undecodable")
    run_drift(platform, [*log_rows(32), *failed], instance)
    shown = metadata(instance, "served_requests")
    assert shown["result"] == (
        "33 rows of 32 distinct items, answered by the champion, 2026-11-01 12:00:00 to 12:00:03 UTC."
    )
    answers = [dict(record.data) for record in shown["answers"].records]
    assert sum(row["rows"] for row in answers) == 33
    assert [(row["label"], row["rows"]) for row in answers if row["error"] == "undecodable"] == [(None, 1)]
    newest = [dict(record.data) for record in shown["newest rows"].records]
    assert [row["request_id"] for row in newest] == [f"q0-{place}" for place in range(31, 21, -1)]
    assert (newest[0]["at (UTC)"], newest[0]["confidence"]) == ("2026-11-01 12:00:03", 0.7)


def test_of_a_burst_of_windows_the_newest_is_the_one_shown(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """Three windows in one run, drifted, drifted, clean; then the other way round."""
    later = START + timedelta(minutes=1)
    run_drift(platform, [*log_rows(64, shift=0.8), *log_rows(32, seed=5, start=later)], instance)
    assert len(checks(instance)) == 7
    assert checks(instance)["feature_drift"].passed
    assert [m.tags["genre/level"] for m in materialised(instance) if m.tags] == ["ok", "detected", "detected"]
    rows = [*log_rows(64, seed=6, start=START + timedelta(minutes=2)), *log_rows(32, seed=7, shift=0.8, start=START + timedelta(minutes=3))]  # fmt: skip
    run_drift(platform, rows, instance)
    assert not checks(instance)["feature_drift"].passed
    key = dg.AssetCheckKey(dg.AssetKey("drift_reports"), "feature_drift")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    told = [record.evaluation for record in history if record.evaluation]
    assert [evaluation.passed for evaluation in told] == [False, True, True, True, False, False]
    assert len({str(evaluation.metadata["window"].value) for evaluation in told}) == 6


def test_a_run_without_a_new_window_changes_nothing(platform: dict[str, Any], instance: dg.DagsterInstance) -> None:
    run_drift(platform, log_rows(32, shift=0.8), instance)
    before = (materialised(instance), checks(instance))
    run_drift(platform, log_rows(5, seed=3, start=START + timedelta(minutes=5)), instance)
    assert (materialised(instance), checks(instance)) == before


def test_a_person_who_asks_for_the_checks_gets_those_of_the_newest_window(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """Materialize in the UI runs the asset with its checks."""
    run_drift(platform, log_rows(32, shift=0.8), instance)
    whole = dg.materialize([drift_reports], resources=platform, instance=instance)
    assert whole.success
    assert len(checks(instance)) == 7
    assert not checks(instance)["feature_drift"].passed


def test_windows_whose_run_died_before_it_reported_them_are_reported_by_the_next(
    platform: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pages, "write_json", killed)
        with pytest.raises(Killed):
            run_drift(platform, log_rows(64, shift=0.8), instance)
    assert materialised(instance) == []
    run_drift(platform, [], instance)
    assert len(materialised(instance)) == 2
    assert not checks(instance)["feature_drift"].passed
    assert isinstance(tick(sensors.new_drift_window, platform, instance), dg.SkipReason)


def test_too_little_traffic_for_very_long_fails_as_a_warning(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    settings = platform["settings"].model_copy(update={"window_max_seconds": 3600.0, "window_oldest_seconds": 86400.0})
    run_drift({**platform, "settings": settings}, log_rows(5), instance)
    drift = checks(instance)["feature_drift"]
    assert (drift.passed, drift.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert drift.description == "nothing could be evaluated for 24 h: 5 of 24 items"


def test_a_site_with_five_items_an_hour_gets_verdicts_by_the_documented_rules(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    documented = Settings.model_fields
    rules = {name: documented[name].default for name in documented if name.startswith("window_")}
    rows = log_rows(3 * rules["window_minimum"], seed=9, shift=0.8)
    hourly = [replace(row, ts=(START + timedelta(minutes=12 * i)).timestamp()) for i, row in enumerate(rows)]
    run_drift({**platform, "settings": platform["settings"].model_copy(update=rules)}, hourly, instance)
    assert [event.tags["genre/level"] for event in materialised(instance) if event.tags] == ["detected"] * 3
    assert not checks(instance)["feature_drift"].passed


def test_files_that_the_model_was_trained_on_are_no_evidence(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """The README's own step: predict what was ingested. The model is surer of it than of anything else."""
    known = [f"file-9-{i}" for i in range(20)]
    frame = reference_frame()
    frame["fingerprint"] = [known[i // 3 % len(known)] for i in range(len(frame))]
    platform["store"].write_parquet(platform["settings"].serving_bucket, "reference/version=1/part.parquet", frame)
    run_drift(platform, log_rows(32, seed=9, shift=0.8), instance)
    found = checks(instance)
    assert all(evaluation.passed for evaluation in found.values())
    assert found["feature_drift"].description == "20 of 32 distinct items are training files; 24 others are needed"
    assert found["data_quality"].metadata["trained"].value == 20
    later = log_rows(
        32, seed=10, shift=0.8, start=START + timedelta(minutes=1), names=[*known[:8], *map(str, range(24))]
    )
    run_drift(platform, later, instance)
    assert "drift in 24 items" in str(checks(instance)["feature_drift"].description)


def followed(link: str) -> tuple[str, bytes]:
    """What a browser without any key gets: type and content. Raises for any answer but a good one."""
    with urlopen(link, timeout=10) as answer:
        return answer.headers.get_content_type(), answer.read()


def test_pages_and_plots_are_drawn_apart_and_linked(platform: dict[str, Any], instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(sensors.drift_page_due, platform, instance), dg.SkipReason)
    run_drift(platform, log_rows(64, shift=0.8), instance)
    bucket = platform["settings"].serving_bucket
    assert len(list(platform["store"].list(bucket, "drift/"))) == 2, "the numbers of each window, and no page"
    request = tick(sensors.drift_page_due, platform, instance)
    assert request.tags["dagster/priority"] == "-1"
    definitions(platform).resolve_job_def("drift_page").execute_in_process(request.run_config, instance=instance)
    found = metadata(instance, "drift_pages")
    key = found["report"].removeprefix(f"s3://{bucket}/")
    assert platform["store"].get_bytes(bucket, key).startswith(b"<html>")
    assert key.removesuffix("/report.html") == f"drift/{metadata(instance)['window']}"
    assert platform["store"].read_json(bucket, key.replace(".html", ".json"))["level"] == "detected"
    opened = followed(found["report, in a browser"])
    assert opened == ("text/html", platform["store"].get_bytes(bucket, key))
    kind, numbers = followed(metadata(instance)["numbers, in a browser"])
    assert (kind, json.loads(numbers)["level"]) == ("application/json", "detected")
    for plot in ("alarm_history", "drifted_features", "genre_mix", "confidence"):
        assert found[plot].startswith("![")
    assert isinstance(tick(sensors.drift_page_due, platform, instance), dg.SkipReason)


def test_pages_are_drawn_one_at_a_time_and_not_while_window_follows_upon_window(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    def asked() -> bool:
        return isinstance(tick(sensors.drift_page_due, platform, instance), dg.RunRequest)

    def earlier(by: str) -> None:
        platform["database"].execute("UPDATE drift_windows SET judged_at = judged_at - %s::interval", (by,))

    run_drift(platform, log_rows(32), instance)
    assert asked(), "nobody has seen any page"
    under_way = dg.DagsterRun("drift_page", status=dg.DagsterRunStatus.STARTED)
    instance.add_run(under_way)
    assert not asked()
    instance.delete_run(under_way.run_id)
    definitions(platform).resolve_job_def("drift_page").execute_in_process(instance=instance)
    run_drift(platform, log_rows(32, seed=2, start=START + timedelta(minutes=5)), instance)
    assert not asked(), "the next window may be on its way"
    earlier("21 seconds")
    assert asked()
    earlier("10 minutes")
    run_drift(platform, log_rows(32, seed=3, start=START + timedelta(minutes=9)), instance)
    assert asked(), "windows go on and on"


def test_no_window_yet_is_no_failure(platform: dict[str, Any], instance: dg.DagsterInstance) -> None:
    run_drift(platform, log_rows(5), instance)
    assert (materialised(instance), checks(instance)) == ([], {})
    empty = definitions(platform).resolve_job_def("drift_page").execute_in_process(instance=instance)
    assert empty.success
    assert materialised(instance, "drift_pages") == []


@pytest.mark.parametrize("broken", ["evidently_page", "alarm_history"])
def test_a_page_or_plot_that_cannot_be_made_is_named_and_not_asked_for_again(
    platform: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], broken: str,
) -> None:  # fmt: skip
    def raises(*_: object) -> str:
        raise RuntimeError("not today")

    run_drift(platform, log_rows(64, shift=0.8), instance)
    monkeypatch.setattr(report, broken, raises)
    request = tick(sensors.drift_page_due, platform, instance)
    result = (
        definitions(platform).resolve_job_def("drift_page").execute_in_process(request.run_config, instance=instance)
    )
    assert result.success
    assert "could not be made: RuntimeError: not today" in capfd.readouterr().err
    assert isinstance(tick(sensors.drift_page_due, platform, instance), dg.SkipReason)


def test_the_real_evidently_page_is_made() -> None:
    frame = reference_frame()[["f0", "f1"]].to_numpy("float32")
    page = report.evidently_page(["f0", "f1"], frame, frame[:32])
    assert "<html" in page[:200].lower()


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
    platform: dict[str, Any], instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    store, bucket = platform["store"], platform["settings"].raw_bucket
    for name, (data, _) in BAD_LABELS.items():
        store.put_bytes(bucket, f"labels/{name}.csv", data)
    store.put_bytes(bucket, "labels/sub/", b"")
    store.put_bytes(bucket, "labels/list.xlsx", b"PK")
    store.put_bytes(bucket, "labels/good-excel.csv", b"\xef\xbb\xbfrequest_id;item;genre\r\nq0;0;rock\r\n")
    store.put_bytes(bucket, "labels/good-lone-cr.csv", b"request_id,item,genre\rq1,0,rock\r")
    result = run_drift(platform, log_rows(32, seed=5), instance)
    said = capfd.readouterr().err
    assert result.success
    assert checks(instance)["feature_drift"].passed
    assert observed(result)["new_labels"] == 2
    left_out = {str(row.data["file"]): str(row.data["why"]) for row in table(result)}
    assert set(left_out) == {*(f"labels/{name}.csv" for name in BAD_LABELS), "labels/list.xlsx"}
    for name, (_, why) in BAD_LABELS.items():
        assert why in left_out[f"labels/{name}.csv"]
        assert f"labels/{name}.csv is left out" in said
    again = run_drift(platform, [], instance)
    assert len(table(again)) == len(left_out), "shown as long as the files are there"


def table(result: Any) -> list[dg.TableRecord]:
    return list(observed(result)["warning: label files left out"].records)
