"""Alerts against a local HTTP receiver."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from genre_assets import audit
from genre_assets.audit import Move
from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.serving.alerts import listing, sources
from genre_assets.serving.alerts.channels import Message, Webhook
from genre_assets.serving.alerts.manager import ATTEMPTS, Alerts
from genre_assets.serving.alerts.sources import CheckEvaluation
from genre_assets.serving.drift.window_reports import Freshness
from genre_assets.serving.drift.windows import Rules
from genre_assets_tests.receiver import Receiver, receiving

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def alerts(database: Database, receiver: Receiver) -> Alerts:
    return Alerts(database, [Webhook(receiver.url)], repeat=HOUR)


def test_an_alert_opens_repeats_after_the_cool_down_and_resolves(alerts: Alerts, receiver: Receiver) -> None:
    for minutes, expected in ((0, "opened"), (1, "counted"), (59, "counted"), (60, "repeated"), (61, "counted")):
        assert alerts.report("route", "the fallback serves", "drift", now=NOW + timedelta(minutes=minutes)) == expected
    assert alerts.resolve("route", "clean again", now=NOW + 2 * HOUR)
    alerts.deliver(NOW + 2 * HOUR)
    assert [kind for kind, _ in receiver.kinds()] == ["opened", "repeated", "resolved"]
    assert receiver.got[1]["seen"] == 4
    assert receiver.got[2]["body"] == "clean again"


def test_what_is_not_open_is_not_resolved(alerts: Alerts, receiver: Receiver) -> None:
    assert not alerts.resolve("route", "all is well")
    alerts.deliver()
    assert receiver.got == []


def test_a_hundred_reports_are_one_message(alerts: Alerts, receiver: Receiver) -> None:
    for second in range(100):
        alerts.report("run:build", "a run failed", "boom", now=NOW + timedelta(seconds=second))
    alerts.deliver(NOW + HOUR)
    assert receiver.kinds() == [("opened", "run:build")]


def test_an_alert_that_comes_back_after_resolving_opens_anew(alerts: Alerts, receiver: Receiver) -> None:
    for _ in range(2):
        alerts.report("triton", "down", "", now=NOW)
        alerts.resolve("triton", "up", now=NOW)
    alerts.deliver(NOW)
    assert [kind for kind, _ in receiver.kinds()] == ["opened", "resolved", "opened", "resolved"]


def test_a_failed_delivery_is_tried_again_with_growing_pauses_and_is_visible(
    alerts: Alerts, receiver: Receiver, database: Database
) -> None:
    receiver.broken = True
    alerts.report("route", "the fallback serves", "drift", now=NOW)
    assert alerts.deliver(NOW).failed
    assert alerts.deliver(NOW + timedelta(seconds=4)).failed == (), "not before its pause is over"
    assert alerts.deliver(NOW + timedelta(seconds=5)).failed
    assert alerts.deliver(NOW + timedelta(seconds=14)).failed == (), "the second pause is longer"
    (row,) = database.rows("SELECT attempts, error, delivered_at FROM alert_deliveries")
    assert (row["attempts"], row["delivered_at"]) == (2, None)
    assert "503" in row["error"]
    receiver.broken = False
    assert alerts.deliver(NOW + timedelta(seconds=15)).sent == 1
    assert receiver.kinds() == [("opened", "route")]
    assert alerts.deliver(NOW + HOUR).sent == 0


def test_two_daemons_deliver_a_message_once(alerts: Alerts, receiver: Receiver) -> None:
    for number in range(10):
        alerts.report(f"check:{number}", "failed", "", now=NOW)
    threads = [threading.Thread(target=alerts.deliver, args=(NOW,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alerts.deliver(NOW)
    assert sorted(receiver.kinds()) == sorted(("opened", f"check:{number}") for number in range(10))


def test_one_dead_channel_does_not_hold_up_another(database: Database, receiver: Receiver) -> None:
    class Dead:
        name = "dead"

        def send(self, message: Message) -> None:
            raise TransientFailure("nobody there")

    alerts = Alerts(database, [Dead(), Webhook(receiver.url)], repeat=HOUR)
    alerts.report("route", "the fallback serves", "drift", now=NOW)
    delivered = alerts.deliver(NOW)
    assert (delivered.sent, delivered.failed) == (1, ("nobody there",))


def test_a_channel_that_hangs_or_has_a_bug_holds_up_neither_the_tick_nor_the_others(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genre_assets.serving.alerts.manager.DELIVERY_SECONDS", 0.3)
    released = threading.Event()

    class Hanging:
        name = "hanging"
        sent = 0

        def send(self, message: Message) -> None:
            self.sent += 1
            released.wait(60)

    class Broken:
        name = "broken"

        def send(self, message: Message) -> None:
            raise ValueError("a bug")

    hanging = Hanging()
    alerts = Alerts(database, [hanging, Broken(), Webhook(receiver.url)], repeat=HOUR)
    for number in range(25):
        alerts.report(f"check:{number}", "failed", "NUL \0 and \udce9", now=NOW)
    try:
        failed: list[str] = []
        for minutes in range(40):
            failed += alerts.deliver(NOW + timedelta(minutes=minutes)).failed
            if len(receiver.got) == 25:
                break
        assert len(receiver.got) == 25
        assert receiver.got[0]["body"] == "NUL \\x00 and \\udce9"
        assert any("hanging has not answered" in problem for problem in failed)
        assert any("broken: ValueError: a bug" in problem for problem in failed)
        assert hanging.sent == 1, "nothing more is given to it while it hangs"
    finally:
        released.set()
        for thread in threading.enumerate():
            if thread.name == "alerts-hanging":
                thread.join()


def test_a_message_that_nobody_takes_is_given_up_and_shown_so(database: Database, receiver: Receiver) -> None:
    receiver.broken = True
    alerts = Alerts(database, [Webhook(receiver.url)], repeat=100 * HOUR)
    alerts.report("route", "the fallback serves", "drift", now=NOW)
    for hours in range(ATTEMPTS + 5):
        alerts.deliver(NOW + hours * HOUR)
    (row,) = database.rows("SELECT attempts, delivered_at FROM alert_deliveries")
    assert (row["attempts"], row["delivered_at"]) == (ATTEMPTS, None)
    (shown,) = listing.from_database(database)
    assert "opened, webhook: GIVEN UP after 20 attempts: the webhook did not take the alert" in shown.notified[0]
    assert listing.in_short(database).startswith("1 alerts are open: the fallback serves; 1 messages were given up")


def evaluation(number: int, passed: bool, *, warning: bool = False) -> CheckEvaluation:
    return CheckEvaluation(number, "drift_reports:feature_drift", passed, warning, f"evaluation {number}", {})


def test_each_failed_check_is_told_once_and_resolved_when_it_passes(alerts: Alerts, receiver: Receiver) -> None:
    history = [evaluation(1, False), evaluation(2, False), evaluation(3, True)]
    assert sources.tell_checks(history, 0, alerts) == 3
    assert sources.tell_checks(history, 3, alerts) == 3
    alerts.deliver()
    assert [kind for kind, _ in receiver.kinds()] == ["opened", "resolved"]


def test_a_single_warning_is_not_told_and_two_in_a_row_are(alerts: Alerts) -> None:
    once = [evaluation(1, False, warning=True), evaluation(2, True), evaluation(3, False, warning=True)]
    sources.tell_checks(once, 0, alerts)
    assert alerts.open_keys() == []
    sources.tell_checks([*once, evaluation(4, False, warning=True)], 3, alerts)
    assert alerts.open_keys() == ["check:drift_reports:feature_drift"]


def move(number: int, to: str) -> Move:
    return Move(number, NOW, "route", None, to, "drift", "because", {})


def test_the_fallback_opens_an_alert_and_the_champion_resolves_it(alerts: Alerts, receiver: Receiver) -> None:
    sources.tell_moves([move(1, "fallback"), move(2, "champion")], alerts, "http://dagster")
    alerts.deliver()
    assert receiver.kinds() == [("opened", "route"), ("resolved", "route")]
    assert receiver.got[0]["links"] == {"drift reports": "http://dagster/assets/drift_reports"}
    assert "because" in receiver.got[0]["body"]


def test_triton_is_told_down_on_the_second_look_only(alerts: Alerts) -> None:
    looks = sources.tell_triton(False, 0, alerts, "")
    assert alerts.open_keys() == []
    looks = sources.tell_triton(False, looks, alerts, "")
    assert alerts.open_keys() == ["triton"]
    assert sources.tell_triton(True, looks, alerts, "") == 0
    assert alerts.open_keys() == []


RULES = Rules(longest=HOUR, oldest=24 * HOUR)


def test_items_that_are_not_looked_at_are_told(alerts: Alerts) -> None:
    def tell(
        last_answer: datetime | None, waiting: datetime | None = None, unevaluated: datetime | None = None
    ) -> None:
        sources.tell_freshness(Freshness(last_answer, waiting, unevaluated), RULES, NOW, alerts, "")

    tell(NOW - 3 * HOUR)
    assert alerts.open_keys() == ["stale:answers"]
    tell(NOW, NOW - HOUR)
    assert alerts.open_keys() == ["stale:windows"]
    tell(NOW, None, NOW - 24 * HOUR)
    assert alerts.open_keys() == []
    tell(NOW, None, NOW - 26 * HOUR)
    assert alerts.open_keys() == ["stale:drift"]
    tell(NOW)
    assert alerts.open_keys() == []


def test_before_the_first_answer_nothing_is_stale(alerts: Alerts) -> None:
    sources.tell_freshness(Freshness(None, None, None), RULES, NOW, alerts, "")
    assert alerts.open_keys() == []


def test_a_log_that_does_not_reach_the_database_is_told(alerts: Alerts) -> None:
    none = dict.fromkeys(sources.COUNTERS, 0)

    def tell(before: dict[str, int], **found: float) -> dict[str, int]:
        return sources.tell_log({f"genre_log_{k}": v for k, v in found.items()}, 100.0, before, NOW, alerts, "")

    assert tell(none, backlog_bytes=30e6) == none
    assert alerts.open_keys() == ["log:backlog"]
    lost = tell(none, backlog_bytes=0, dropped_rows=7, set_aside_rows=2)
    assert lost == none | {"dropped": 7, "set_aside": 2}
    assert alerts.open_keys() == ["log:dropped", "log:set_aside"]
    assert tell(lost, dropped_rows=7, set_aside_rows=2) == lost
    assert alerts.open_keys() == []
    tell(lost, dropped_rows=3, set_aside_rows=2)  # started again, and lost three since
    assert alerts.open_keys() == ["log:dropped"]
    tell({"dropped": 3, "set_aside": 2}, dropped_rows=3, set_aside_rows=2,
         last_success_timestamp_seconds=NOW.timestamp() - 400)  # fmt: skip
    assert alerts.open_keys() == ["log:stands"]
    tell({"dropped": 3, "set_aside": 2}, dropped_rows=3, set_aside_rows=2,
         last_success_timestamp_seconds=NOW.timestamp())  # fmt: skip
    assert alerts.open_keys() == []


@pytest.mark.parametrize("name", ["unsealed", "clips_lost"])
def test_refused_calls_and_lost_clips_are_told_once(alerts: Alerts, name: str) -> None:
    metric, key = sources.COUNTERS[name].metric, sources.COUNTERS[name].key
    found = sources.gauges(f'{metric}{{model="post_processor",version="1"}} 3\n')
    counts = sources.tell_log(found, 100.0, {}, NOW, alerts, "")
    assert counts[name] == 3
    assert alerts.open_keys() == [key]
    sources.tell_log(found, 100.0, counts, NOW, alerts, "")
    assert alerts.open_keys() == []


def test_gauges_are_read_from_the_prometheus_text() -> None:
    text = (
        "# HELP x y\n# TYPE genre_log_backlog_bytes gauge\n"
        'genre_log_backlog_bytes{model="post_processor",version="1"} 12.5\n'
        'genre_log_backlog_bytes{model="a } in \\"it",version="1"} 2 1764400000000\n'
        "nv_x 1\ngenre_log_dropped_rows 3\n"
    )
    assert sources.gauges(text) == {"genre_log_backlog_bytes": 14.5, "genre_log_dropped_rows": 3.0}


def test_a_sensor_that_fails_twice_is_told_and_resolved_when_it_works(alerts: Alerts) -> None:
    for failures, expected in ((1, []), (2, ["sensor:promotion_due"]), (3, ["sensor:promotion_due"]), (0, [])):
        sources.tell_sensors({"promotion_due": failures}, alerts, "http://d")
        assert alerts.open_keys() == expected


def test_a_retraining_request_is_open_as_long_as_it_waits(alerts: Alerts) -> None:
    sources.tell_retraining("drift under the fallback too", alerts, "")
    assert alerts.open_keys() == ["retraining"]
    sources.tell_retraining(None, alerts, "")
    assert alerts.open_keys() == []


def test_a_failed_run_is_resolved_by_the_next_good_one_of_its_job(alerts: Alerts) -> None:
    sources.tell_run("build", "0123456789", "http://d", problem="boom", alerts=alerts)
    sources.tell_run("drift", "1123456789", "http://d", problem=None, alerts=alerts)
    assert alerts.open_keys() == ["run:build"]
    sources.tell_run("build", "2123456789", "http://d", problem=None, alerts=alerts)
    assert alerts.open_keys() == []


def test_the_audit_table_is_what_moves_are_read_from(database: Database, alerts: Alerts) -> None:
    audit.record(database, "route", moved_from="champion", moved_to="fallback", actor="drift", reason="2 of 3")
    sources.tell_moves(audit.history(database, subject="route"), alerts, "")
    assert alerts.open_keys() == ["route"]
