"""Take the README's pictures from the running stack: `make demo`, then `make screenshots`."""

import sys
from pathlib import Path

from genre_assets.settings import load_settings
from genre_assets_tests.browser import pages

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def main() -> None:
    executable = pages.chromium()
    if executable is None:
        sys.exit("no Chromium: apt-get install chromium")
    settings = load_settings()
    url = settings.dagster_url
    with pages.page(executable, width=1100, height=1000) as page:
        pages.try_a_sound(page, settings.gateway_url, next((settings.home / "synthetic_audio").rglob("*.wav")))
        page.screenshot(path=PICTURES / "gateway.png")
    with pages.page(executable) as page:
        pages.open_graph(page, url)
        page.screenshot(path=PICTURES / "dagster-graph.png")
        pages.open_drift_check(page, url)
        page.screenshot(path=PICTURES / "drift-check.png")


if __name__ == "__main__":
    main()
