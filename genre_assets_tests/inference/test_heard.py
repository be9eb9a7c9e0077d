"""An answer says how much of the file it is of: through a real Triton, both clients and the command."""

import contextlib
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
def test_the_command_draws_a_table_at_a_terminal_and_lines_of_json_elsewhere(live: LiveStack, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("long.wav", "short.wav", "broken.wav")]
    files[0].write_bytes(clip(1, seconds=72))
    files[1].write_bytes(clip(1))
    files[2].write_bytes(b"rubbish" * 50)
    named = [str(path) for path in files]
    code, (head, *rows) = at_terminal(live, *named)
    assert code == 1
    assert head.split() == ["file", "label", "sure", "second", "model"]
    by_name = {row.split()[0]: row for row in rows}
    (long,) = live.client.predict([files[0].read_bytes()], log=False)
    second = sorted(long.probabilities.values())[-2]
    assert [long.label, f"{max(long.probabilities.values()):.0%}"] == by_name["long.wav"].split()[1:3]
    assert f" {second:.0%} " in by_name["long.wav"]
    assert by_name["long.wav"].endswith(f"{long.model} version {long.version}  heard 30 s of 1:12")
    assert "heard" not in by_name["short.wav"]
    assert "  error: " in by_name["broken.wav"]
    assert {json.loads(line)["path"] for line in lines_of_json(live, *named)} == {*named}


def addressed(live: LiveStack) -> dict[str, str]:
    """Variables by which a command finds the ensemble."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    return {**outside, "GENRE_TRITON_GRPC": live.settings.triton_grpc, "GENRE_TRITON_HTTP": live.settings.triton_http}


def lines_of_json(live: LiveStack, *arguments: str) -> list[str]:
    """What `genre-assets predict` prints where no terminal is; an item of these fails."""
    done = subprocess.run([COMMAND, "predict", *arguments], capture_output=True, text=True, env=addressed(live))
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.splitlines()


def at_terminal(live: LiveStack, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines of `genre-assets predict` whose standard output is a terminal."""
    ours, its = os.openpty()
    printed = b""
    with subprocess.Popen([COMMAND, "predict", *arguments], stdout=its, env=addressed(live)) as process:
        os.close(its)
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while part := os.read(ours, 65536):
                printed += part
        os.close(ours)
    return process.returncode, printed.decode().splitlines()


def test_a_model_that_hears_the_middle_says_where_that_begins() -> None:
    limits = Limits(offset="middle")
    version = FEATURE_SETS["default"].version
    reader = ItemReader(ItemLimits(2**24, 2**24, ()), lambda: pytest.fail("no item names S3"))
    maker = FeatureMaker(reader, limits, feature_set="default", version=version, segments=3)
    _, (facts,) = maker.make([clip(1, seconds=40)])
    heard = Heard(**json.loads(facts.heard))
    assert heard == Heard(5.0, 30.0, 40.0)
    assert str(heard) == "heard 30 s from 0:05 of 0:40"
