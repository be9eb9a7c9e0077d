"""The route, moved by hand in a browser on the running stack: the job, the books, the audit."""

import pytest
from playwright.sync_api import expect

from genre_assets import audit
from genre_assets.database import Database
from genre_assets_tests.browser.pages import chromium, page
from genre_assets_tests.live import Stack

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_person_moves_the_route_pins_it_and_takes_it_back(stack: Stack) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with page(executable, width=1200) as browser:
        browser.set_default_timeout(120_000)
        for route, pinned in (("fallback", True), ("champion", False)):
            browser.goto(f"{stack.settings.gateway_link}/models")
            browser.get_by_role("radio", name=route).check()
            browser.get_by_label("pin it").set_checked(pinned)
            browser.locator("#move").get_by_label("Why").fill(f"-- the page's {route}")
            browser.get_by_role("button", name="Move the route").click()
            said = f"The {route} serves, pinned." if pinned else f"The {route} serves."
            expect(browser.locator("#said")).to_contain_text(said, timeout=180_000)
        browser.goto(f"{stack.settings.gateway_link}/models")
        browser.get_by_label("Version").fill("99999")
        browser.locator("#rollback").get_by_label("Why").fill("there is none")
        browser.get_by_role("button", name="Roll back").click()
        expect(browser.locator("#said")).to_contain_text("there is no version 99999", timeout=60_000)
    moves = audit.history(Database(stack.settings.database_url.get_secret_value()), limit=2, subject="route")
    assert [(move.moved_to, move.actor, move.reason) for move in moves] == [
        ("champion", "person", "-- the page's champion"),
        ("fallback", "person", "-- the page's fallback"),
    ]
