"""An answer says how much of the file it is of: through a real Triton, both clients and the command."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genre_assets.triton.client.prediction import Heard
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.client.wire import Transport
from genre_assets_tests.audio.sounds import RATE, av_file
from genre_assets_tests.live import COMMAND
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import CUT, clip, toy_model

pytestmark = pytest.mark.stack

NOISE = np.random.default_rng(1).standard_normal(40 * RATE).astype(np.float32)


@pytest.fixture(autouse=True)
def first_release(live: LiveStack) -> Iterator[None]:
    """A test that serves another release leaves the session's one behind."""
    yield
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_each_item_says_what_was_heard_of_it(live: LiveStack, transport: Transport) -> None:
    untold_file = av_file(0.1 * NOISE, container="adts")
    items: list[bytes | str] = [clip(1, seconds=40), clip(2), b"rubbish" * 50, untold_file]
    with GenreClient.from_settings(live.settings, transport=transport) as client:
        long, short, broken, untold = (answer.heard for answer in client.predict(items, log=False))
    assert long == Heard(0.0, 30.0, 40.0)
    assert not long.is_all
    assert short is not None
    assert short.is_all
    assert broken is None
    assert untold == Heard(0.0, 30.0, None)
    assert str(untold) == "heard 30 s of unknown length"


def test_the_command_says_it_when_it_was_not_all(live: LiveStack, tmp_path: Path) -> None:
    long, short = tmp_path / "long.wav", tmp_path / "short.wav"
    long.write_bytes(clip(1, seconds=72))
    short.write_bytes(clip(1))
    said = ask(live, str(long), str(short))
    assert "; heard 30 s of 1:12)" in said[0]
    assert "heard" not in said[1]
    first = json.loads(ask(live, str(long), "--json")[0])
    assert first["heard"] == {"from_s": 0.0, "seconds": 30.0, "of_s": 72.0}


def ask(live: LiveStack, *arguments: str) -> list[str]:
    """The lines that `genre-assets predict` prints."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    addresses = {"GENRE_TRITON_GRPC": live.settings.triton_grpc, "GENRE_TRITON_HTTP": live.settings.triton_http}
    done = subprocess.run(
        [COMMAND, "predict", *arguments], capture_output=True, text=True, env={**outside, **addresses}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_model_that_hears_the_middle_says_where_that_begins(live: LiveStack, tmp_path: Path) -> None:
    model = toy_model(tmp_path / "m", version=30, family="xgboost", seed=1, cut=replace(CUT, offset="middle"))
    live.build({30: model}, {"champion": 30}, "middle")
    live.serve("champion")
    (answer,) = live.client.predict([clip(1, seconds=40)], log=False)
    assert answer.heard == Heard(5.0, 30.0, 40.0)
    assert str(answer.heard) == "heard 30 s from 0:05 of 0:40"
