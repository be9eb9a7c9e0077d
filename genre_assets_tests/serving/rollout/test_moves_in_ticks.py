"""What drift has decided is done by the tick that finds it, over a real Triton; what a tick cannot do is left to a run."""

import sys
import threading
from typing import Any

import dagster as dg
import pytest

from genre_assets import audit
from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.serving import assets, sensors
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import Wish
from genre_assets.serving.rollout import reconciliation
from genre_assets_tests.serving.drift_platform import instance, tick
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_persons_word import champion_serves, drifted, moves, serving

__all__ = ["champion_serves", "instance"]  # fixtures
pytestmark = pytest.mark.stack


@pytest.fixture
def resources(live: LiveStack) -> dict[str, Any]:
    """What the sensor is given."""
    return {"settings": live.settings, "database": live.database, "triton": live.control}


def shown(instance: dg.DagsterInstance) -> tuple[dict[str, Any], dg.AssetCheckEvaluation | None]:
    """Metadata of the newest materialisation of `live_ensemble`, and the newest evaluation of its check."""
    key = dg.AssetKey("live_ensemble")
    (record,) = instance.fetch_materializations(key, limit=1).records
    made = record.asset_materialization
    assert made is not None
    assert record.run_id == ""
    check = dg.AssetCheckKey(key, assets.LIVE_CHECK)
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    return {name: value.value for name, value in made.metadata.items()}, found.evaluation


def test_the_tick_goes_over_to_the_fallback_books_it_and_reports_it_as_a_run_does(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    known = len(moves(live, 0))
    reason = drifted(live, 9).due.reason  # type: ignore[union-attr]
    said = tick(sensors.promotion_due, resources, instance)
    assert str(said.skip_message) == f"fallback serves: {reason}"
    assert serving(live) == ("fallback", False, False)
    assert moves(live, known) == [("fallback", "drift")]
    assert audit.history(live.database, subject="route")[0].evidence["windows"]
    facts, check = shown(instance)
    assert (facts["route"], facts["version"], facts["route moved"], facts["new release"]) == (
        "fallback",
        4,
        True,
        False,
    )
    by_a_run = dg.materialize(
        [assets.live_ensemble], instance=instance, resources={**resources, "store": live.store}
    ).asset_materializations_for_node("live_ensemble")[0]
    assert facts.keys() == by_a_run.metadata.keys()
    assert check is not None
    assert check.passed, check.description
    assert instance.get_runs_count() == 1, "the one of this test"
    assert isinstance(tick(sensors.promotion_due, resources, instance), dg.SkipReason)
    assert moves(live, known) == [("fallback", "drift")]


def test_the_tick_that_judges_a_window_moves_before_it_reports(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it judges is shown elsewhere; here it is told what a window has led to."""

    def report(*_: object) -> list[Any]:
        routes.append(live.control.route())
        return []

    standing, waiting, routes = drifted(live, 9), iter(["a window", None]), list[str | None]()
    monkeypatch.setattr("genre_assets.serving.drift.window_store.due", lambda *_: next(waiting))
    monkeypatch.setattr("genre_assets.serving.drift_assets.decide", lambda *_: (standing, None))
    monkeypatch.setattr("genre_assets.serving.drift_assets.report", report)
    said = tick(sensors.new_drift_window, resources, instance)
    assert "fallback serves: " in str(said.skip_message)
    assert routes == ["fallback"]
    assert serving(live) == ("fallback", False, False)
    assert shown(instance)[0]["route"] == "fallback"


def test_a_move_that_is_made_and_cannot_be_checked_is_said_to_be_made(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise TransientFailure("Triton does not answer")

    drifted(live, 9)
    monkeypatch.setattr("genre_assets.serving.going_live.inspect", away)
    said = tick(sensors.promotion_due, resources, instance)
    assert isinstance(said, dg.SkipReason)
    assert "fallback serves: " in str(said.skip_message)
    assert serving(live) == ("fallback", False, False)


def test_a_page_that_a_dead_tick_left_behind_the_books_is_made_anew_by_a_run(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "AGREES", threading.Event())
    monkeypatch.setattr(reconciliation, "SETTLING_SECONDS", 0.0)
    before = {**resources, "store": live.store}
    assert dg.materialize([assets.live_ensemble], instance=instance, resources=before).success  # the champion's page
    drifted(live, 9)
    with monkeypatch.context() as dying:
        dying.setattr(sensors, "live_events", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit, match="killed"):
            tick(sensors.promotion_due, resources, instance)
    assert serving(live) == ("fallback", False, False), "it was booked"
    asked = tick(sensors.promotion_due, resources, instance)
    assert isinstance(asked, dg.RunRequest)
    wanted = asked.run_config["ops"]["live_ensemble"]["config"]
    assert wanted["route"] == "fallback"
    assert wanted["reason"] == "the fallback serves by the books, but the page of live_ensemble says champion"
    assert dg.materialize(
        [assets.live_ensemble], instance=instance, resources=before, run_config=asked.run_config
    ).success
    assert isinstance(tick(sensors.promotion_due, resources, instance), dg.SkipReason)
    assert sensors.AGREES.is_set()


def test_what_cannot_be_done_in_a_tick_is_left_to_one_run_that_is_not_overtaken(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermanentFailure("it does not load")

    move = drifted(live, 9).due
    assert move is not None
    with monkeypatch.context() as patch:
        patch.setattr("genre_assets.serving.going_live.go_live", refused)
        asked = tick(sensors.promotion_due, resources, instance)
    assert isinstance(asked, dg.RunRequest)
    assert serving(live) == ("champion", False, True)
    instance.add_run(dg.DagsterRun("promote", status=dg.DagsterRunStatus.STARTED, tags=asked.tags))
    assert isinstance(tick(sensors.promotion_due, resources, instance), dg.SkipReason)
    assert serving(live) == ("champion", False, True)


def test_a_release_that_does_not_serve_yet_and_files_at_work_are_left_to_a_run(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    drifted(live, 9)
    with live.repository.locked():
        said = tick(sensors.promotion_due, resources, instance)
        assert "somebody is at work" in str(said.skip_message), "it may be the tick that has decided"
        live.database.execute(
            "UPDATE route_state SET decided_at = decided_at - interval '1 minute' WHERE switched_at IS NULL"
        )
        assert isinstance(tick(sensors.promotion_due, resources, instance), dg.RunRequest)
    live.build(live.models, {"champion": 4, "fallback": 3}, "ticks")
    asked = tick(sensors.promotion_due, resources, instance)
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    assert isinstance(asked, dg.RunRequest)
    assert serving(live) == ("champion", False, True)


def test_a_persons_move_is_not_made_by_a_tick(
    live: LiveStack, resources: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    """Its run may be under way."""
    route_state.request(live.database, Wish("fallback", "person", "noise"))
    assert isinstance(tick(sensors.promotion_due, resources, instance), dg.RunRequest)
    assert serving(live) == ("champion", False, True)
