"""The Dagster UI in a real headless browser: the pages that the tests read and that the README shows."""

import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from genre_assets_tests.waiting import until

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


# Of each link to an asset, the text of the row around it, which ends with its status.
_ROWS = r"""() => Object.fromEntries([...document.querySelectorAll('a[href^="/assets/"]')].map(link => {
    const name = link.getAttribute("href").split("/")[2]
    let row = link
    while (row && !/aterialized|\d+ partitions/.test(row.innerText.replace(/\s+/g, " "))) row = row.parentElement
    return [name, row ? row.innerText.replace(/\s+/g, " ") : ""]
}).filter(([_, text]) => text.split("partitions").length + text.split("aterialized").length === 3))"""
_PARTITIONS = re.compile(r"(?P<made>\S+) (?P<missing>\S+) (?P<failed>\S+) \S+ \d+ partitions$")


def catalog(page: Page, dagster_url: str, assets: Collection[str]) -> dict[str, bool]:
    """Asset -> whether the catalog shows it as made, with all its partitions. The page must be high: it draws what is seen."""
    page.goto(f"{dagster_url}/assets")
    rows: dict[str, str] = {}

    def shown() -> bool:
        rows.update(page.evaluate(_ROWS))
        return set(assets) <= set(rows)

    until(shown, lambda: f"the rows of {sorted(set(assets) - set(rows))}: {rows}", 60, pause=1.0)
    return {asset: _is_made(rows[asset]) for asset in assets}


def _is_made(row: str) -> bool:
    partitions = _PARTITIONS.search(row)
    return partitions["missing"] == "0" if partitions else "Never materialized" not in row


def open_drift_check(page: Page, dagster_url: str) -> None:
    """The drift check with the history of its verdicts."""
    page.goto(f"{dagster_url}/assets/drift_reports?view=checks&checkDetail=feature_drift")
    page.get_by_text("Execution history").first.click(timeout=60_000)
    page.get_by_text("Passed").first.wait_for(timeout=60_000)
    page.wait_for_timeout(2000)


def try_a_sound(page: Page, gateway_url: str, clip: Path) -> None:
    """The gateway's first page with the answer to a clip and what the log holds of it."""
    page.goto(gateway_url)
    page.get_by_label("Audio file").set_input_files(clip)
    page.locator("#facts dt").first.wait_for(timeout=60_000)
