"""Every example runs and shows what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.live import ROOT, Stack, environment

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        env=variables or dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def song(tmp_path: Path) -> str:
    file = tmp_path / "song.wav"
    file.write_bytes(sound_file(music(12.0, seed=2)))
    return str(file)


def test_each_example_is_told_of() -> None:
    told = (EXAMPLES / "README.md").read_text()
    assert [script.name for script in EXAMPLES.glob("*.py") if f"`{script.name}`" not in told] == []


def test_the_features_of_a_sound(song: str) -> None:
    said = run("extract_and_look.py", song)
    assert "12.0 s" in said
    assert "mfcc" in said or "level_mean" in said


@pytest.mark.stack
@pytest.mark.timeout(1200)
def test_the_ensemble_is_asked(stack: Stack, song: str) -> None:
    said = run("ask_the_ensemble.py", song, __file__, variables=environment(stack.settings.home))
    good, bad = said.splitlines()
    assert ", then " in good
    assert bad.startswith(f"{__file__}: ")


@pytest.mark.stack
@pytest.mark.timeout(1200)
def test_a_window_by_hand_is_what_was_kept(stack: Stack) -> None:
    kept, by_hand, *features = run("window_by_hand.py", variables=environment(stack.settings.home)).splitlines()
    assert kept.startswith("kept:")
    assert f": {by_hand.split()[2]}, " in kept
    assert len(features) == 5
