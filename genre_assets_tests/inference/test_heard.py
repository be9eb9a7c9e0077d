"""An answer says how much of the file it is of: through a real Triton, both clients and the command."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.extract import FEATURE_SETS, Limits
from genre_assets.inference.features import FeatureMaker
from genre_assets.inference.items import ItemLimits, ItemReader
from genre_assets.triton.client.prediction import Heard
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.client.wire import Transport
from genre_assets_tests.audio.sounds import RATE, av_file
from genre_assets_tests.live import COMMAND
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip

NOISE = np.random.default_rng(1).standard_normal(40 * RATE).astype(np.float32)


@pytest.mark.stack
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


@pytest.mark.stack
def test_the_command_says_it_when_it_was_not_all(live: LiveStack, tmp_path: Path) -> None:
    long, short = tmp_path / "long.wav", tmp_path / "short.wav"
    long.write_bytes(clip(1, seconds=72))
    short.write_bytes(clip(1))
    said = ask(live, str(long), str(short))
    assert "; heard 30 s of 1:12)" in said[0]
    assert "heard" not in said[1]


def ask(live: LiveStack, *arguments: str, code: int = 0) -> list[str]:
    """The lines that `genre-assets predict` prints."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    addresses = {"GENRE_TRITON_GRPC": live.settings.triton_grpc, "GENRE_TRITON_HTTP": live.settings.triton_http}
    done = subprocess.run(
        [COMMAND, "predict", *arguments], capture_output=True, text=True, env={**outside, **addresses}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_model_that_hears_the_middle_says_where_that_begins() -> None:
    limits = Limits(offset="middle")
    version = FEATURE_SETS["default"].version
    reader = ItemReader(ItemLimits(2**24, 2**24, ()), lambda: pytest.fail("no item names S3"))
    maker = FeatureMaker(reader, limits, feature_set="default", version=version, segments=3)
    _, (facts,) = maker.make([clip(1, seconds=40)])
    heard = Heard(**json.loads(facts.heard))
    assert heard == Heard(5.0, 30.0, 40.0)
    assert str(heard) == "heard 30 s from 0:05 of 0:40"
