"""The Dagster UI in a real headless browser: the pages that the tests read and that the README shows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

GROUPS = ("audio", "models", "packaging", "serving")


def chromium() -> str | None:
    """Path of the system's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def page(executable: str, *, width: int = 1900, height: int = 900) -> Iterator[Page]:
    """A page of a browser that asks nothing of the outside."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


def open_graph(page: Page, dagster_url: str) -> None:
    """The whole asset graph, every group expanded."""
    groups = "%2C".join(f"global%40global%3A{group}" for group in GROUPS)
    page.goto(f"{dagster_url}/asset-groups?expanded={groups}")
    page.get_by_text("live_ensemble").first.wait_for(timeout=60_000)
    page.wait_for_timeout(3000)


def open_drift_check(page: Page, dagster_url: str) -> None:
    """The drift check with the history of its verdicts."""
    page.goto(f"{dagster_url}/assets/drift_reports?view=checks&checkDetail=feature_drift")
    page.get_by_text("Execution history").first.click(timeout=60_000)
    page.get_by_text("Passed").first.wait_for(timeout=60_000)
    page.wait_for_timeout(2000)
