"""An alert that was open when a release gave its key another name stays open for nobody."""

from datetime import UTC, datetime, timedelta

from genre_assets.database import Database
from genre_assets.serving.alerts import sources
from genre_assets.serving.alerts.channels import Webhook
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift.window_reports import Freshness
from genre_assets.serving.drift.windows import Rules
from genre_assets_tests.receiver import receiving

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_alert_that_an_earlier_release_opened_resolves_by_its_former_key(database: Database) -> None:
    rules = Rules(longest=HOUR, oldest=24 * HOUR)
    with receiving() as receiver:
        alerts = Alerts(database, [Webhook(receiver.url)], repeat=HOUR)
        for former in sources.FORMER_KEYS:
            alerts.report(former, "as it was called", "a window waits", now=NOW - HOUR)
        sources.tell_freshness(Freshness(NOW, NOW - HOUR, NOW - 26 * HOUR), rules, NOW, alerts, "")
        assert alerts.open_keys() == ["stale:windows", "stale:drift"]
        alerts.deliver()
    opened = [("opened", key) for key in ("stale:drift", "stale:judged", "stale:verdicts", "stale:windows")]
    assert sorted(receiver.kinds()) == [*opened, ("resolved", "stale:judged"), ("resolved", "stale:verdicts")]
