"""The alert sensors on an instance without a daemon: what they read, where their cursors go on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.serving import alert_sensors
from genre_assets.serving.alerts import beats
from genre_assets.serving.alerts.channels import Message
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift_assets import drift_reports
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore

FEATURE_DRIFT = dg.AssetCheckKey(dg.AssetKey("drift_reports"), "feature_drift")
REPOSITORY = dg.Definitions(
    assets=[drift_reports, dg.AssetSpec("served_requests")],
    resources={name: dg.ResourceDefinition.none_resource() for name in ("settings", "store", "database")},
).get_repository_def()


class Memory:
    """A channel that remembers."""

    name = "memory"

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []

    def send(self, message: Message) -> None:
        self.kinds.append((message.kind, message.key))


class Triton:
    """A server that is ready or not."""

    is_ready = True

    def ready(self) -> bool:
        return self.is_ready


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:  # the ephemeral one keeps no ticks
        yield instance


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def platform(database: Database, memory: Memory, tmp_path: Any) -> dict[str, Any]:
    settings: Settings = load_settings(tmp_path, triton_metrics="127.0.0.1:9")
    alerts = Alerts(database, [memory], repeat=timedelta(hours=1))
    return {"settings": settings, "database": database, "alerts": alerts, "triton": Triton()}


def evaluate(instance: dg.DagsterInstance, passed: bool) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=FEATURE_DRIFT.asset_key,
            check_name=FEATURE_DRIFT.name,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description="as told",
        )
    )


def tick(sensor: Any, instance: dg.DagsterInstance, resources: dict[str, Any], cursor: str | None = None) -> str | None:
    """One tick with the resources that the sensor asks for; returns its new cursor."""
    wanted = {name: resources[name] for name in sensor.required_resource_keys}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=wanted, repository_def=REPOSITORY)
    assert isinstance(sensor(context), dg.SkipReason)
    return context.cursor


def test_every_failed_check_between_two_ticks_is_read_once(
    instance: dg.DagsterInstance, platform: dict[str, Any], memory: Memory
) -> None:
    cursor = tick(alert_sensors.alert_on_checks, instance, platform)
    evaluate(instance, passed=False)
    cursor = tick(alert_sensors.alert_on_checks, instance, platform, cursor)
    cursor = tick(alert_sensors.alert_on_checks, instance, platform, cursor)
    evaluate(instance, passed=True)
    evaluate(instance, passed=False)
    evaluate(instance, passed=True)
    tick(alert_sensors.alert_on_checks, instance, platform, cursor)
    platform["alerts"].deliver()
    key = "check:drift_reports:feature_drift"
    assert memory.kinds == [("opened", key), ("resolved", key), ("opened", key), ("resolved", key)]


def test_a_move_to_the_fallback_is_told_and_its_end_as_well(
    instance: dg.DagsterInstance, platform: dict[str, Any], memory: Memory
) -> None:
    database = platform["database"]
    route_state.confirm(database, "champion", actor="build", reason="first")
    cursor = tick(alert_sensors.alert_on_platform, instance, platform)
    route_state.confirm(database, "fallback", actor="drift", reason="2 of 3")
    cursor = tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    cursor = tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    route_state.confirm(database, "champion", actor="drift", reason="3 clean")
    tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    assert memory.kinds == [("opened", "route"), ("resolved", "route")]
    assert len(audit.history(database)) == 2


def test_each_tick_leaves_its_beat_for_whoever_watches_from_outside(
    instance: dg.DagsterInstance, platform: dict[str, Any]
) -> None:
    before = datetime.now(UTC)
    tick(alert_sensors.alert_on_platform, instance, platform)
    (own,) = beats.read(platform["database"])
    assert (own.sensor, own.failed_in_a_row, own.channels) == ("alert_on_platform", 0, 1)
    tick(alert_sensors.alert_on_platform, instance, platform)
    (later,) = beats.read(platform["database"])
    assert before <= own.ticked_at < later.ticked_at


def test_a_triton_that_is_down_is_told_once_released(
    instance: dg.DagsterInstance, platform: dict[str, Any], memory: Memory
) -> None:
    platform["triton"].is_ready = False
    cursor = tick(alert_sensors.alert_on_platform, instance, platform)
    cursor = tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    assert memory.kinds == [], "nothing is released yet"
    route_state.confirm(platform["database"], "champion", actor="build", reason="first")
    for _ in range(3):
        cursor = tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    platform["triton"].is_ready = True
    tick(alert_sensors.alert_on_platform, instance, platform, cursor)
    assert memory.kinds == [("opened", "triton"), ("resolved", "triton")]


def test_a_failed_run_is_told_and_resolved_by_a_good_one(
    instance: dg.DagsterInstance, platform: dict[str, Any], memory: Memory
) -> None:
    fail = True

    @dg.op
    def flaky() -> None:
        if fail:
            raise ValueError("boom")

    @dg.job
    def build() -> None:
        flaky()

    failed = build.execute_in_process(instance=instance, raise_on_error=False)
    (event,) = [e for e in failed.all_events if e.event_type_value == "PIPELINE_FAILURE"]
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failed_run", dagster_event=event, dagster_instance=instance,
        dagster_run=failed.dagster_run, resources={k: platform[k] for k in ("settings", "alerts")},
    )  # fmt: skip
    alert_sensors.alert_on_failed_run(context.for_run_failure())
    fail = False
    good = build.execute_in_process(instance=instance)
    (event,) = [e for e in good.all_events if e.event_type_value == "PIPELINE_SUCCESS"]
    context = dg.build_run_status_sensor_context(
        sensor_name="resolve_on_succeeded_run", dagster_event=event, dagster_instance=instance,
        dagster_run=good.dagster_run, resources={k: platform[k] for k in ("settings", "alerts")},
    )  # fmt: skip
    alert_sensors.resolve_on_succeeded_run(context)
    platform["alerts"].deliver()
    assert memory.kinds == [("opened", "run:build"), ("resolved", "run:build")]


def test_wrong_keys_and_a_silent_s3_open_an_alert_that_resolves(
    instance: dg.DagsterInstance, platform: dict[str, Any], memory: Memory, store: ObjectStore, s3_settings: Settings
) -> None:
    def s3_tick(settings: Settings, cursor: str | None) -> str | None:
        cursor = tick(alert_sensors.alert_on_s3, instance, {**platform, "settings": settings}, cursor)
        platform["alerts"].deliver()
        return cursor

    wrong_keys = s3_settings.model_copy(update={"s3_secret_key": SecretStr("wrong")})
    away = s3_settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    cursor = s3_tick(wrong_keys, None)
    assert memory.kinds == [("opened", "s3")], "access denied does not pass by itself"
    cursor = s3_tick(s3_settings, cursor)
    assert memory.kinds[1:] == [("resolved", "s3")]
    for _ in range(2):
        cursor = s3_tick(away, cursor)
    assert memory.kinds[2:] == [], "it may come back at once"
    cursor = s3_tick(away, cursor)
    s3_tick(s3_settings, cursor)
    assert memory.kinds[2:] == [("opened", "s3"), ("resolved", "s3")]


def test_open_alerts_are_named_where_the_ui_shows_the_tick(
    instance: dg.DagsterInstance, platform: dict[str, Any], database: Database
) -> None:
    platform["alerts"] = Alerts(database, [], repeat=timedelta(hours=1))
    platform["alerts"].report("run:build", "a run of build failed", "boom")
    wanted = {name: platform[name] for name in alert_sensors.alert_on_platform.required_resource_keys}
    result = alert_sensors.alert_on_platform(dg.build_sensor_context(instance=instance, resources=wanted))
    assert isinstance(result, dg.SkipReason)
    assert "1 alerts are open: a run of build failed; no channel is set" in str(result.skip_message)
