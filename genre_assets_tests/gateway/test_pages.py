"""The gateway's pages in a real browser: each task of a person, with the keyboard where it matters, and at 360 pixels."""

import csv
import io
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from genre_assets import keys
from genre_assets.audio.tables import inventory
from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.promotion import route_state
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.browser.pages import chromium, page
from genre_assets_tests.gateway.conftest import gateway
from genre_assets_tests.labelled import TEN, keep_ten
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame
from genre_assets_tests.serving.live_stack import LiveStack

pytestmark = pytest.mark.browser
PAGES = {
    "/": "Try it", "/windows": "Windows", "/review": "Review", "/quarantine": "Quarantine", "/alerts": "Alerts",
    "/models": "Models",
}  # fmt: skip
KEPT = "s3://genre-raw/jazz/kept.wav"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with page(executable, width=1200) as opened:
        opened.set_default_timeout(60_000)
        expect.set_options(timeout=30_000)
        yield opened


@pytest.fixture
def history(database: Database, store: ObjectStore, s3_settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The gateway over a window of 32 answered items, an alert, a file in quarantine, and no server of models."""
    settings = s3_settings.model_copy(
        update={"window_size": 32, "window_minimum": 24, "window_max_seconds": 1e9, "window_oldest_seconds": 1e9}
        | {"database_url": database.url}
    )
    keep_ten(store, settings)
    store.put_bytes("genre-raw", "jazz/kept.wav", sound_file(music(2.0)))
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    route_state.confirm(database, "champion", actor="build", reason="first release")
    route_state.confirm(database, "fallback", actor="person", reason="to hear how it sounds")
    bad = {"key": "jazz/bad.wav", "verdict": "too_short", "detail": "0.2 s", "size": 2000, "last_modified": START}
    frame = inventory.table([{**dict.fromkeys(inventory.COLUMNS, 0), **bad}])
    store.write_parquet(settings.features_bucket, keys.quarantine("jazz"), frame)
    rows = log_rows(32, seed=4)
    rows[5] = Row(**{**vars(rows[5]), "confidence": 0.11, "address": KEPT, "format": "wav"})
    request_log.insert(database, rows)
    window_store.cut(database, Rules.from_settings(settings), START + timedelta(minutes=10))
    assert len([*evaluate.evaluate_waiting(database, store, settings)]) == 1
    Alerts(database, [], repeat=timedelta(hours=1)).report(
        "drift", severity="warning", title="Drift is suspected", body="most in <b>tempo</b>"
    )
    with gateway(settings, tmp_path / "gateway") as address:
        yield address


def label_rows(store: ObjectStore) -> list[dict[str, str]]:
    """Every label that was kept."""
    files = [store.get_bytes("genre-raw", entry.key).decode() for entry in store.list("genre-raw", "labels/")]
    return [row for text in files for row in csv.DictReader(io.StringIO(text))]


def assert_usable(browser: Page) -> None:
    """By everybody, and on a telephone. Fails with what axe says."""
    found = Axe().run(browser).response["violations"]
    serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in {"serious", "critical"}]
    assert not serious, (browser.url, serious)
    browser.set_viewport_size({"width": 360, "height": 700})
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360, browser.url
    browser.set_viewport_size({"width": 1200, "height": 900})


def test_the_forms_of_the_models_page_are_usable(browser: Page, front_door: str) -> None:
    browser.goto(f"{front_door}/models")
    expect(browser.get_by_role("button", name="Move the route")).to_be_visible()
    assert_usable(browser)


def test_a_sound_is_drawn_answered_and_corrected(
    browser: Page, front_door: str, live: LiveStack, store: ObjectStore, tmp_path: Path
) -> None:
    keep_ten(store, live.settings)
    clip = tmp_path / "clip.wav"
    clip.write_bytes(sound_file(music(3.0)))
    browser.goto(front_door)
    browser.get_by_label("Audio file").set_input_files(clip)
    (expected,) = live.client.predict([clip.read_bytes()], log=False)
    expect(browser.locator("#answer")).to_contain_text(f"{expected.label}, ")
    expect(browser.locator("#answer")).to_contain_text(f"version {expected.version}")
    expect(browser.locator("#facts")).to_contain_text("champion")
    expect(browser.locator("#facts")).to_contain_text("3 s of 0:03")
    expect(browser.locator("#segments tbody tr")).to_contain_text([f"{expected.label}"])
    expect(browser.locator("#probabilities tbody tr")).to_have_count(len(expected.probabilities))
    for canvas in ("wave", "mel"):
        colours = (
            "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        )
        assert browser.locator(f"#{canvas}").evaluate(colours) > 1, "nothing is drawn"
    expect(browser.locator("#why")).to_contain_text(
        "How usual this is: unknown"
    )  # this ensemble was trained on nothing
    browser.get_by_label("Wrong? It is").select_option("jazz")
    browser.get_by_label("says").fill("ann")
    browser.get_by_role("button", name="Send the label").click()
    expect(browser.get_by_role("status")).to_contain_text("jazz is kept")
    assert [(row["genre"], row["labelled_by"]) for row in label_rows(store)] == [("jazz", "ann")]
    (tmp_path / "clip.txt").write_text("no audio")
    browser.get_by_label("Audio file").set_input_files(tmp_path / "clip.txt")
    expect(browser.get_by_role("status")).to_contain_text("undecodable")


def test_clips_are_labelled_without_a_mouse(browser: Page, history: str, store: ObjectStore) -> None:
    browser.goto(f"{history}/review")
    clips = browser.locator(".clip")
    expect(clips.first).to_contain_text("11%")
    assert (
        clips.first.locator("audio").evaluate("a => new Promise(r => {a.onloadeddata = () => r(a.duration); a.load()})")
        > 1
    )
    keyboard = browser.keyboard
    for key in ("1", "2", "u", "3", "n", "0"):
        keyboard.press(key)
    expect(browser.locator("#count")).to_contain_text("3 of")
    keyboard.press("Enter")
    expect(browser.locator("#count")).to_contain_text("3 sent")
    told = {(row["request_id"], row["genre"]) for row in label_rows(store)}
    wanted = {
        (clips.nth(place).get_attribute("data-request"), TEN.names[number])
        for place, number in ((0, 0), (1, 2), (3, 9))
    }
    assert told == wanted


@pytest.mark.long
def test_fifty_clips_are_labelled_by_keys_as_fast_as_they_can_be_pressed(
    browser: Page, history: str, database: Database, store: ObjectStore, s3_settings: Settings
) -> None:
    settings = s3_settings.model_copy(update={"window_size": 32, "window_minimum": 24, "window_max_seconds": 1e9,
        "window_oldest_seconds": 1e9, "database_url": database.url})  # fmt: skip
    request_log.insert(database, log_rows(64, seed=5, start=START + timedelta(minutes=11)))
    window_store.cut(database, Rules.from_settings(settings), START + timedelta(minutes=30))
    assert [*evaluate.evaluate_waiting(database, store, settings)]
    browser.goto(f"{history}/review")
    clips = browser.locator(".clip")
    expect(clips).to_have_count(50)
    began = time.monotonic()
    for number in range(50):
        expect(clips.nth(number)).to_have_class(re.compile("current"))
        browser.keyboard.press(str(number % 10))
    expect(browser.locator("#count")).to_contain_text("50 of 50 labelled")
    browser.keyboard.press("Enter")
    expect(browser.locator("#count")).to_contain_text("50 sent")
    pace = (time.monotonic() - began) / 50
    print(f"\n{pace:.2f} s a label")  # what the test is asked about
    assert pace < 2, "the page keeps a person waiting"
    told = {row["request_id"]: row["genre"] for row in label_rows(store)}
    wanted = {clips.nth(number).get_attribute("data-request"): TEN.names[(number + 9) % 10] for number in range(50)}
    assert told == wanted


def test_a_file_in_quarantine_is_dropped_and_put_back_without_a_mouse(
    browser: Page, front_door: str, live: LiveStack, store: ObjectStore
) -> None:
    keep_ten(store, live.settings)
    store.put_bytes("genre-raw", "jazz/<b>.wav", sound_file(music(0.2)))
    item = store.find("genre-raw", "jazz/<b>.wav")
    assert item is not None
    bad = {**vars(item), "verdict": "too_short", "detail": "0.2 s"}
    frame = inventory.table([{**dict.fromkeys(inventory.COLUMNS, 0), **bad}])
    store.write_parquet(live.settings.features_bucket, keys.quarantine("jazz"), frame)
    browser.goto(f"{front_door}/quarantine")
    status, keyboard = browser.locator("#said"), browser.keyboard
    for button, answer, reason in (
        ("Drop jazz/<b>.wav", "is dropped", "a <i>click</i>"),
        ("Undo: put back jazz/<b>.wav", "is in the raw bucket again", "no"),
    ):
        browser.get_by_role("button", name=button).focus()
        keyboard.press("Enter")
        expect(browser.get_by_role("dialog")).to_contain_text("jazz/<b>.wav")
        keyboard.press("Escape")
        expect(browser.get_by_role("dialog")).to_be_hidden()
        keyboard.press("Enter")
        assert_usable(browser)
        keyboard.type(reason)
        keyboard.press("Enter")
        expect(status).to_contain_text(answer)
    assert store.find("genre-raw", "jazz/<b>.wav") is not None
    browser.goto(f"{front_door}/quarantine")
    expect(browser.get_by_text("a <i>click</i>")).to_be_visible()
    refused = browser.request.post(f"{front_door}/v1/quarantine/drop", data={"key": "jazz/none.wav", "reason": "r"})
    assert (refused.status, refused.json()["detail"]) == (
        422, "jazz/none.wav is not in quarantine; see: genre-assets quarantine",
    )  # fmt: skip
    foreign = {"Origin": "http://elsewhere.example", "Content-Type": "application/json"}
    wanted = {"key": "jazz/<b>.wav", "reason": "r"}
    assert browser.request.post(f"{front_door}/v1/quarantine/drop", data=wanted, headers=foreign).status == 403


def test_each_page_shows_what_is_known_fits_a_telephone_and_has_no_serious_fault(browser: Page, history: str) -> None:
    asked: list[str] = []
    browser.on("request", lambda request: asked.append(request.url))
    for path, title in PAGES.items():
        browser.goto(f"{history}{path}")
        expect(browser.get_by_role("heading", level=1)).to_have_text(title)
        for scheme in ("light", "dark") if path in {"/windows", "/alerts"} else ("light",):
            browser.emulate_media(color_scheme=scheme)
            assert_usable(browser)
    assert all(url.startswith((history, "blob:")) for url in asked), asked
    browser.goto(f"{history}/windows")
    row = browser.locator("tbody tr").first
    expect(row).to_contain_text("champion, version 1")
    expect(row).to_contain_text("32")
    expect(browser.get_by_text("to hear how it sounds")).to_be_visible()
    expect(browser.get_by_text("The fallback serves")).to_be_visible()
    browser.goto(f"{history}/quarantine")
    expect(browser.locator("tbody tr")).to_contain_text(["jazz/bad.wav"])
    expect(browser.get_by_text("too short")).to_be_visible()
    browser.goto(f"{history}/alerts")
    expect(browser.get_by_text("most in <b>tempo</b>")).to_be_visible()
    browser.goto(f"{history}/models")
    expect(browser.get_by_role("alert")).to_contain_text("Nothing is released yet")
