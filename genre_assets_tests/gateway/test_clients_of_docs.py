"""The clients that the docs show, as they stand there, before a real Triton and a real gateway; only the addresses are ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.site.blocks import Block, blocks
from genre_assets_tests.waiting import until

CLIP = sound_file(music(3.0))
STRICT = 'set -euo pipefail\ncurl() { command curl --fail-with-body --silent --show-error "$@"; }\n'
PYTHON = sorted({block.page for block in blocks("python")})


@pytest.fixture
def folder(live: LiveStack, tmp_path: Path) -> Path:
    """A folder with the files that the docs name; their objects are in the raw bucket."""
    live.store.ensure_buckets(live.settings.raw_bucket)
    keep_ten(live.store, live.settings)
    for key in ("rock/one.wav", "jazz/other.wav", "jazz/song.wav", "sets/one_night.mp3"):
        live.store.put_bytes(live.settings.raw_bucket, key, CLIP)
    for name in ("song.wav", "song.mp3", "one.wav", "two.mp3", "concert.mp3"):
        (tmp_path / name).write_bytes(CLIP)
    return tmp_path


def placed(text: str, live: LiveStack, front_door: str, request_id: str = "") -> str:
    """The text with the addresses of the servers of this test."""
    ours = {
        "127.0.0.1:8401": live.settings.triton_grpc,
        "127.0.0.1:8400": live.settings.triton_http,
        "http://127.0.0.1:8405": front_door.rstrip("/"),
        "s3://genre-raw/": f"s3://{live.settings.raw_bucket}/",
        "REQUEST_ID": request_id,
        '"LABEL"}]': '"jazz"}]' if request_id else '"LABEL"}]',
    }
    for written, meant in ours.items():
        text = text.replace(written, meant)
    return text


def run(command: list[str], folder: Path, live: LiveStack) -> str:
    """What it prints."""
    outside = {**os.environ, "GENRE_HOME": str(live.settings.home)}
    done = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def request_id(front_door: str) -> str:
    """A request that is in the log."""
    with httpx.Client(base_url=front_door, timeout=60) as client:
        answers: Any = client.post("/v1/predict", content=CLIP).json()["answers"]
        found = str(answers[0]["request_id"])
        until(lambda: client.get(f"/v1/predictions/{found}").status_code == httpx.codes.OK, "the row is in the log", 30)
    return found


@pytest.mark.parametrize("page", PYTHON)
def test_python(page: str, folder: Path, live: LiveStack, front_door: str) -> None:
    """The blocks of a page, one after the other: a later one may use what an earlier one has made."""
    program = "\n".join(block.text for block in blocks("python") if block.page == page)
    (folder / "program.py").write_text(placed(program, live, front_door))
    printed = run([sys.executable, "-W", "error::DeprecationWarning:__main__", "program.py"], folder, live)
    assert any(label in printed for label in ("blues", "jazz", "rock", "metal", "classical", "pop", "disco", "reggae", "hiphop", "country"))  # fmt: skip


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_curl(block: Block, folder: Path, live: LiveStack, front_door: str, request_id: str) -> None:
    printed = run(["bash", "-c", STRICT + placed(block.text, live, front_door, request_id)], folder, live)
    assert '"error"' not in printed or '"error":null' in printed, printed


@pytest.mark.parametrize("block", blocks("javascript"), ids=str)
def test_node(block: Block, folder: Path, live: LiveStack, front_door: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on this machine")
    (folder / "program.mjs").write_text(placed(block.text, live, front_door))
    assert "LABEL [" in run([node, "program.mjs"], folder, live)


@pytest.mark.parametrize("block", blocks("go"), ids=str)
def test_go(block: Block, folder: Path, live: LiveStack, front_door: str) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go on this machine")
    (folder / "program.go").write_text(placed(block.text, live, front_door))
    assert '"name":"LABEL"' in run([go, "run", "program.go"], folder, live)
