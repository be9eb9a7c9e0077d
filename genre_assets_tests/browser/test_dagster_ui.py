"""What a person sees in the Dagster UI after the main job."""

import pytest

from genre_assets_tests.browser import pages
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(1200)]
FLOW = ("raw_audio", "features", "training_set", "champion_models", "triton_repo", "live_ensemble")


@pytest.fixture(scope="module")
def chromium() -> str:
    found = pages.chromium()
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


def test_the_graph_and_the_catalog_show_every_asset_of_the_flow_as_made(stack: Stack, chromium: str) -> None:
    with pages.page(chromium, height=3000) as page:
        pages.open_graph(page, stack.settings.dagster_url)
        for asset in FLOW:
            assert page.get_by_text(asset, exact=True).count() >= 1, asset
        assert pages.catalog(page, stack.settings.dagster_url, FLOW) == dict.fromkeys(FLOW, True)


def test_the_drift_check_shows_its_history(stack: Stack, chromium: str) -> None:
    with pages.page(chromium) as page:

        def shown() -> bool:
            pages.open_drift_check(page, stack.settings.dagster_url)
            text = page.inner_text("body")
            return "feature_drift" in text and text.count("Passed") >= 3 and text.count("Failed") >= 2

        # The champion may be back before the run that decided it has drawn its page and told the check's verdict.
        until(shown, "two failed windows and the clean ones after them", 60)
