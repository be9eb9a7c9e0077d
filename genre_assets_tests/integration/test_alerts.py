"""From clean to drift and back with the real daemon: people are told, once, and told when it is over."""

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from genre_assets.database import Database
from genre_assets.demo.narrator import Narrator
from genre_assets.demo.story import Watch
from genre_assets.demo.traffic import Traffic
from genre_assets.stack.services.dagster import DagsterDaemon
from genre_assets_tests.live import Stack, environment
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
DRIFT = "check:drift_reports:feature_drift"
OPENED_THEN_RESOLVED = ["opened", "resolved"]


@pytest.fixture
def database(stack: Stack) -> Database:
    """The stack's own."""
    return Database(stack.settings.database_url.get_secret_value())


def kinds(stack: Stack, key: str) -> list[str]:
    """What was told about one alert, without the reminders."""
    return [kind for kind, _ in stack.alerts.kinds(key) if kind != "repeated"]


def moves(stack: Stack) -> list[dict[str, Any]]:
    """Moves of the route that the drift made, oldest first."""
    found: list[dict[str, Any]] = stack.json("history", "--json")
    return [m for m in reversed(found) if m["subject"] == "route" and m["actor"] == "drift"]


@pytest.mark.parametrize("key", [DRIFT, "route"])
def test_the_story_opened_an_alert_and_resolved_it(stack: Stack, key: str) -> None:
    until(lambda: kinds(stack, key)[:2] == OPENED_THEN_RESOLVED, f"{key} opened and resolved", 60)
    opened = next(m for m in stack.alerts.got if m["key"] == key)
    assert opened["body"]
    assert all(link.startswith(stack.settings.dagster_url) for link in opened["links"].values())
    assert opened["links"]


@pytest.fixture
def second_daemon(stack: Stack) -> Iterator[None]:
    """Another daemon on the same instance, started by mistake."""
    daemon = DagsterDaemon(stack.settings)
    outside = {**environment(stack.settings.home), **daemon.environment()}
    with (stack.settings.home / "logs" / "second-daemon.log").open("wb") as log:
        process = subprocess.Popen(daemon.command(), env=outside, stdout=log, stderr=log, start_new_session=True)
        yield
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.long
@pytest.mark.usefixtures("second_daemon")
def test_two_daemons_and_a_restart_make_exactly_two_moves(stack: Stack, database: Database) -> None:
    settings, before, told = stack.settings, len(moves(stack)), len(stack.alerts.got)
    answered = database.rows("SELECT count(*) AS n FROM served_requests")[0]["n"]
    traffic = Traffic(stack.audio, seconds=settings.segment_seconds, seed=settings.seed + answered)
    watch = Watch(settings, database, Narrator())
    watch.send_until("fallback", traffic.drifted())
    stack.kill("dagster-daemon")
    watch.send_until("champion", traffic.clean())
    assert [move["moved_to"] for move in moves(stack)[before:]] == ["fallback", "champion"]

    def news() -> list[tuple[str, str]]:
        return [(m["kind"], m["body"]) for m in stack.alerts.got[told:] if m["key"] == "route"]

    def said() -> bool:
        kinds = [kind for kind, _ in news() if kind != "repeated"]
        # The news that an earlier alert is over may have been on its way when this test began.
        return kinds.count("opened") == 1 and kinds[-2:] == OPENED_THEN_RESOLVED

    until(said, lambda: f"one alert about the route, opened and resolved; told: {news()}", 60)
