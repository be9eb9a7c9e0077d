"""Keys of the gateway, by the command that makes them and the requests that send them; who has none is kept out."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from pydantic import SecretStr

from genre_assets.database import Database
from genre_assets.gateway.access import api_keys
from genre_assets.gateway.access.api_keys import ApiKey, Scope
from genre_assets.gateway.access.doorkeeper import Doorkeeper, keys_needed
from genre_assets.settings import load_settings
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.browser.pages import chromium, page
from genre_assets_tests.gateway.conftest import gateway
from genre_assets_tests.gateway.test_pages import assert_usable
from genre_assets_tests.live import COMMAND, environment
from genre_assets_tests.serving.live_stack import LiveStack

CLIP = sound_file(music(1.0))


@pytest.fixture(scope="module")
def closed(live: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway, asking everybody for a key."""
    with gateway(live.settings, tmp_path_factory.mktemp("closed"), gateway_keys="always") as address:
        yield address


def command(live: LiveStack, *words: str, code: int = 0) -> tuple[str, str]:
    """What `genre-assets api-keys` prints on both streams."""
    variables = {**environment(live.settings.home), "GENRE_DATABASE_URL": live.settings.database_url.get_secret_value()}
    done = subprocess.run(
        [COMMAND, "api-keys", *words], env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def made(live: LiveStack, name: str, *options: str) -> dict[str, str]:
    """A key by the command, as the header of a request."""
    key, said = command(live, "add", name, *options)
    assert key.startswith("ga_")
    assert key.strip() not in said
    return {"Authorization": f"Bearer {key.strip()}"}


def detail(reply: httpx.Response, status: int) -> str:
    """What a problem says."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), reply.text
    return str(reply.json()["detail"])


def test_without_a_key_only_life_and_health_are_told(closed: str) -> None:
    with httpx.Client(base_url=closed, timeout=30) as http:
        described: dict[str, dict[str, Any]] = http.get("/v1/openapi.json").json()["paths"]
        asked = [(method, path) for path, methods in described.items() for method in methods if path != "/v1/health"]
        hidden = [("get", path) for path in ("/v1/audio?address=s3://a/b", "/v1/windows/w/report")]
        for method, path in [*asked, *hidden]:
            reply = http.request(method, path)
            assert "a key is needed" in detail(reply, 401), path
            assert reply.headers["www-authenticate"].startswith("Bearer")
        assert http.get("/v1/live").status_code == 200
        assert http.get("/v1/health").status_code in {200, 503}
        wrong = http.post("/v1/predict", content=CLIP, headers={"Authorization": "Bearer ga_no"})
        assert "no key in force" in detail(wrong, 401)


def test_a_key_is_for_its_scopes_until_it_is_revoked(closed: str, live: LiveStack) -> None:
    key = made(live, "phone", "--scope", "predict", "--max-mb", "0.05")
    with httpx.Client(base_url=closed, timeout=60, headers=key) as http:
        assert http.post("/v1/predict", content=CLIP).json()["answers"][0]["label"]
        assert "0.05 MB" in detail(http.post("/v1/predict", content=CLIP * 3), 413)
        for path in ("/v1/windows", "/v1/review", "/v1/route"):
            assert "needs the scope" in detail(http.get(path), 403)
        refused = http.post("/v1/route", json={"route": "fallback", "reason": "mischief"})
        assert "operate" in detail(refused, 403)
        refused = http.post("/v1/quarantine/drop", json={"key": "jazz/a.wav", "reason": "mischief"})
        assert "operate" in detail(refused, 403)
        shown = {one["name"]: one for one in json.loads(command(live, "--json")[0])}
        assert shown["phone"]["scopes"] == ["predict"]
        assert shown["phone"]["used_at"] is not None
        assert key["Authorization"].split()[1] not in str(live.database.rows("SELECT * FROM api_keys"))
        command(live, "revoke", "phone")
        assert "no key" in command(live, "revoke", "phone", code=1)[1]
    assert Doorkeeper(live.database).known(key["Authorization"].split()[1]) is None


def test_a_key_asks_as_often_as_it_may(closed: str, live: LiveStack) -> None:
    key = made(live, "often", "--scope", "operate", "--per-minute", "3")
    with httpx.Client(base_url=closed, timeout=30, headers=key) as http:
        answers = [http.get("/v1/route") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20
        assert "3 times a minute" in detail(answers[3], 429)


def test_while_the_database_is_away_nobody_is_let_in_by_a_key_that_nobody_knows(
    live: LiveStack, tmp_path: Path
) -> None:
    away = SecretStr("postgresql://genre@127.0.0.1:1/genre")
    with gateway(live.settings, tmp_path / "away", gateway_keys="always", database_url=away) as address:
        reply = httpx.post(f"{address}/v1/predict", content=CLIP, headers={"Authorization": "Bearer ga_x"}, timeout=30)
        assert "the database does not answer" in detail(reply, 503)
        assert httpx.get(f"{address}/v1/live").status_code == 200


def test_the_allowance_comes_back_and_a_revoked_key_is_forgotten(database: Database) -> None:
    clock = [0.0]
    keeper = Doorkeeper(database, now=lambda: clock[0])
    limited = ApiKey("a", frozenset(Scope), per_minute=6)
    assert [keeper.count(limited) for _ in range(7)] == [0.0] * 6 + [pytest.approx(10.0)]
    clock[0] = 10.0
    assert keeper.count(limited) == 0.0
    key = api_keys.create(database, "b", frozenset({Scope.LABEL}), by="ann")
    assert keeper.known(key) is not None
    api_keys.revoke(database, "b")
    assert keeper.known(key) is not None, "remembered for some seconds"
    clock[0] += 10.0
    assert keeper.known(key) is None
    api_keys.create(database, "b", frozenset({Scope.LABEL}), by="ann")
    assert [one.revoked_at for one in api_keys.listed(database)] == [None]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "two words", "--scope", "predict"), "no name of a key"),
        (("add", "x", "--scope", "predict", "--max-mb", "-1"), "above zero"),
        (("add", "twice", "--scope", "predict"), "revoke it first"),
    ],
)
def test_what_makes_no_key_is_said(live: LiveStack, words: tuple[str, ...], said: str) -> None:
    if "twice" in words:
        made(live, "twice", "--scope", "predict")
    assert said in command(live, *words, code=1)[1]


@pytest.mark.parametrize(
    ("host", "keys", "needed"),
    [
        ("127.0.0.1", "auto", False), ("0.0.0.0", "auto", True), ("10.0.0.7", "auto", True),
        ("127.0.0.1", "always", True), ("0.0.0.0", "never", False),
    ],
)  # fmt: skip
def test_a_key_is_needed_where_others_reach_it(host: str, keys: str, needed: bool) -> None:
    assert keys_needed(load_settings(host=host, gateway_keys=keys)) is needed


@pytest.mark.browser
def test_a_person_signs_in_and_sees_what_the_key_is_for(closed: str, live: LiveStack, tmp_path: Path) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    key = made(live, "ann", "--scope", "predict", "--scope", "label")["Authorization"].split()[1]
    clip = tmp_path / "clip.wav"
    clip.write_bytes(CLIP)
    with page(executable, width=1200) as browser:
        browser.set_default_timeout(60_000)
        browser.goto(f"{closed}/review")
        expect(browser.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert_usable(browser)
        browser.get_by_label("Key").fill("ga_wrong")
        browser.get_by_role("button", name="Sign in").click()
        expect(browser.get_by_role("alert")).to_contain_text("no key in force")
        browser.goto(f"{closed}/")
        browser.get_by_label("Key").fill(key)
        browser.get_by_role("button", name="Sign in").click()
        expect(browser.get_by_role("heading", level=1)).to_have_text("Try it")
        assert browser.get_by_role("navigation", name="Pages").inner_text().split("\n") == ["Try it", "Review"]
        browser.get_by_label("Audio file").set_input_files(clip)
        expect(browser.locator("#answer")).to_contain_text("version", timeout=60_000)
        browser.goto(f"{closed}/models")
        expect(browser.get_by_role("alert")).to_contain_text("operate")
        browser.get_by_role("button", name="Sign out (ann)").click()
        expect(browser.get_by_role("heading", level=1)).to_have_text("Sign in")
        browser.goto(f"{closed}/")
        expect(browser.get_by_role("heading", level=1)).to_have_text("Sign in")
