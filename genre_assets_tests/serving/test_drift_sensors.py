"""The sensors, and the promotions that they ask for."""

import json
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from genre_assets import audit
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.inference import request_log
from genre_assets.serving import prune_sensors, sensors
from genre_assets.serving.assets import LiveEnsembleConfig, live_ensemble
from genre_assets.serving.drift import evaluate
from genre_assets.serving.promotion import route_state
from genre_assets.triton.control import TritonControl
from genre_assets_tests.serving.drift.data import START, log_rows
from genre_assets_tests.serving.drift_platform import (
    Killed,
    checks,
    definitions,
    instance,
    materialised,
    platform,
    run_drift,
    settings,
    tick,
)

__all__ = ["instance", "platform", "settings"]  # fixtures


def test_a_full_window_is_judged_and_reported_in_the_tick_that_finds_it(
    platform: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """As the job drift does it, without a run; the move that is due is asked for by the next tick of `promotion_due`."""
    assert isinstance(tick(sensors.new_drift_window, platform, instance), dg.SkipReason)
    request_log.insert(platform["database"], log_rows(64, shift=0.8))
    said = tick(sensors.new_drift_window, platform, instance)
    assert isinstance(said, dg.SkipReason)
    assert "detected" in str(said.skip_message)
    assert "The wanted route is fallback" in str(said.skip_message)
    assert len(checks(instance)) == 7
    assert not checks(instance)["feature_drift"].passed
    assert [event.tags["genre/level"] for event in materialised(instance) if event.tags] == ["detected"] * 2
    assert instance.get_runs_count() == 0
    assert isinstance(tick(sensors.promotion_due, platform, instance), dg.RunRequest)
    tick(sensors.new_drift_window, platform, instance)
    run_drift(platform, [], instance)
    assert len(materialised(instance)) == 2


def test_what_a_tick_cannot_do_is_left_to_one_run(
    platform: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure, then windows for which the time of a tick is too short."""
    request_log.insert(platform["database"], log_rows(96))
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_waiting", lambda *_: 1 / 0)
        first, again = (tick(sensors.new_drift_window, platform, instance) for _ in range(2))
    assert isinstance(first, dg.RunRequest)
    assert first.run_key == again.run_key
    monkeypatch.setattr(sensors, "EVALUATE_SECONDS", 0.0)
    rest = tick(sensors.new_drift_window, platform, instance)
    assert isinstance(rest, dg.RunRequest)
    assert rest.run_key != first.run_key
    assert len(materialised(instance)) == 1
    run_drift(platform, [], instance)
    assert len(materialised(instance)) == 3
    assert isinstance(tick(sensors.new_drift_window, platform, instance), dg.SkipReason)


@pytest.mark.parametrize(
    "step",
    [
        "genre_assets.serving.drift.window_store.save_result",
        "genre_assets.serving.drift_assets.route_state.advance",
        "genre_assets.serving.drift_assets.retraining_requests.update",
        "genre_assets.serving.drift.pages.write_json",
        "genre_assets.serving.drift_assets._report",
    ],
)
def test_a_code_server_killed_in_a_tick_costs_no_verdict_and_no_move_and_doubles_none(
    platform: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    database = platform["database"]
    request_log.insert(database, log_rows(64, shift=0.8))
    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        with pytest.raises(Killed):
            tick(sensors.new_drift_window, platform, instance)
    tick(sensors.new_drift_window, platform, instance)
    assert len(materialised(instance)) == 2
    assert len(checks(instance)) == 7
    assert len(database.rows("SELECT id FROM drift_windows WHERE judged_at IS NOT NULL")) == 2
    assert len(database.rows("SELECT id FROM route_state WHERE switched_at IS NULL")) == 1


def test_the_sensors_that_react_look_again_within_a_tick_and_others_do_not(
    platform: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is full a moment after the tick began; the tick is the daemon's, by the definitions."""
    monkeypatch.setattr("genre_assets.definitions.WATCH_PAUSE", 0.05)
    monkeypatch.setattr("genre_assets.definitions.WATCH_SECONDS", 3)
    defs = definitions(platform)
    inserting = threading.Timer(0.4, request_log.insert, (platform["database"], log_rows(32, shift=0.8)))
    inserting.start()
    watching = defs.resolve_sensor_def("new_drift_window")
    with dg.build_sensor_context(instance=instance, definitions=defs, resources=platform) as context:
        said = watching.evaluate_tick(context).skip_message
    assert str(said).startswith("no window is complete; then: window ")
    inserting.join()
    assert len(materialised(instance)) == 1
    began = time.monotonic()
    page = defs.resolve_sensor_def("drift_page_due")
    with dg.build_sensor_context(instance=instance, definitions=defs, resources=platform) as context:
        assert page.evaluate_tick(context).run_requests
    assert time.monotonic() - began < 2


def test_old_days_of_the_log_are_dropped_and_those_to_come_begun(platform: dict[str, Any]) -> None:
    """By the platform, since who appends to the log may not; once an hour."""
    database, now = platform["database"], datetime.now(UTC)
    (row,) = log_rows(1)
    for days in (0, 89, 95):
        request_log.insert(database, [replace(row, id=str(uuid.uuid4()), ts=(now - timedelta(days=days)).timestamp())])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources=platform)
        said: list[Any] = [prune_sensors.prune_prediction_log(context) for _ in range(2)]
    dropped, again = (skip.skip_message for skip in said)
    assert dropped == f"dropped: served_requests_{now - timedelta(days=95):%Y%m%d}"
    assert again == "looked at within the hour"
    assert len(request_log.read(database, answered_only=False)) == 2
    listed = database.rows(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'served_requests'::regclass ORDER BY 1"
    )
    assert listed[-1]["name"] == f"served_requests_{now + timedelta(days=7):%Y%m%d}"


def start_run(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun("promote", run_id=str(uuid.uuid4()), status=status, tags=request.tags))


def test_drift_asks_for_one_promotion_and_again_only_after_it_failed(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genre_assets.serving.promotion.run_requests.FIRST_PAUSE", timedelta())
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
        route_state.confirm(platform["database"], "fallback", actor="drift", reason="")
        assert isinstance(tick(sensors.promotion_due, platform, instance), dg.SkipReason)


def test_a_persons_promotion_killed_after_the_switch_is_asked_for_again_and_booked_once(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("genre_assets.serving.going_live.go_live", killed)
    config = LiveEnsembleConfig(route="fallback", reason="noise", actor="person", pinned=True)
    triton = TritonControl("127.0.0.1:1")
    with pytest.raises(Killed):
        live_ensemble(config, platform["settings"], platform["store"], platform["database"], triton)
    with dg.DagsterInstance.ephemeral() as instance:
        asked = tick(sensors.promotion_due, platform, instance).run_config["ops"]["live_ensemble"]["config"]
    assert (asked["route"], asked["actor"], asked["reason"], asked["pinned"]) == ("fallback", "person", "noise", True)
    for _ in range(2):
        route_state.confirm(platform["database"], "fallback", actor="person", reason="noise", pinned=asked["pinned"])
    (row,) = audit.history(platform["database"], subject="route")
    assert (row.moved_to, row.actor) == ("fallback", "person")
    serving = route_state.standing(platform["database"]).serving
    assert serving is not None
    assert serving.pinned


def test_the_launchpads_promotion_must_be_filled_in_and_is_a_persons(platform: dict[str, Any]) -> None:
    job = definitions(platform).resolve_job_def("promote")
    assert job.run_config is not None
    shown = job.run_config["ops"]["live_ensemble"]["config"]
    assert shown["actor"] == "person"
    given = {"settings": platform["settings"], "store": platform["store"], "database": platform["database"]}
    for config in (shown, {**shown, "route": "fallback"}, {**shown, "reason": "noise"}):
        with pytest.raises(BadInput, match=r"needs a route .* and a reason"):
            live_ensemble(LiveEnsembleConfig(**config), triton=platform["triton"], **given)
    assert all(field.description for field in LiveEnsembleConfig.model_fields.values())


def test_a_persons_promotion_that_is_refused_leaves_no_open_move(
    platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermanentFailure("it does not load")

    monkeypatch.setattr("genre_assets.serving.going_live.go_live", refused)
    config = LiveEnsembleConfig(route="fallback", reason="noise", actor="person")
    with pytest.raises(PermanentFailure):
        live_ensemble(
            config, platform["settings"], platform["store"], platform["database"], TritonControl("127.0.0.1:1")
        )
    assert route_state.standing(platform["database"]).due is None


def test_the_asked_for_configuration_is_one_that_live_ensemble_takes(platform: dict[str, Any]) -> None:
    run_drift(platform, log_rows(64, shift=0.8))
    with dg.DagsterInstance.ephemeral() as instance:
        request = tick(sensors.promotion_due, platform, instance)
    config = LiveEnsembleConfig(**json.loads(json.dumps(request.run_config["ops"]["live_ensemble"]["config"])))
    assert config.route == "fallback"
    assert len(config.evidence["windows"]) == 2


def test_clean_windows_of_the_fallback_ask_for_the_champion(platform: dict[str, Any]) -> None:
    run_drift(platform, log_rows(64, shift=0.8))
    route_state.confirm(platform["database"], "fallback", actor="drift", reason="")
    platform["database"].execute("UPDATE route_state SET decided_at = %s", (START + timedelta(minutes=1),))
    later = START + timedelta(minutes=2)
    run_drift(platform, log_rows(128, seed=4, start=later, route="fallback", version=2))
    with dg.DagsterInstance.ephemeral() as instance:
        request = tick(sensors.promotion_due, platform, instance)
    assert request.run_config["ops"]["live_ensemble"]["config"]["route"] == "champion"
