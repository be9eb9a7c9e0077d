"""The capture's rules, and a spool that cannot be written; through Triton it is tested in serving/rollout."""

import hashlib
import os
from pathlib import Path

import pytest

from genre_assets.audio.decoding.sandbox_process import FORMATS
from genre_assets.audio.find_audio import SUFFIXES
from genre_assets.inference.answers import Facts
from genre_assets.inference.capture import ENDINGS, CaptureRules, Pending, PendingClips

HASHES = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(2_000)]


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_the_rate_is_a_share_chosen_by_content(rate: float, share: float) -> None:
    rules = CaptureRules("all", rate, 0.5)
    chosen = [rules.may_keep(fingerprint) for fingerprint in HASHES]
    assert sum(chosen) / len(HASHES) == pytest.approx(share, abs=0.04)
    assert chosen == [rules.may_keep(fingerprint) for fingerprint in HASHES]


def test_off_keeps_nothing_and_doubt_is_below_the_bound() -> None:
    assert not CaptureRules("off", 1.0, 1.0).may_keep(HASHES[0])
    assert not CaptureRules("off", 1.0, 1.0).keeps(0.0)
    assert [CaptureRules("doubtful", 1.0, 0.5).keeps(confidence) for confidence in (0.49, 0.5)] == [True, False]
    assert CaptureRules("all", 1.0, 0.5).keeps(0.99)


def test_every_format_that_is_read_has_an_ending_by_which_it_is_found_again() -> None:
    assert {f".{ENDINGS.get(name, name)}" for name in {*FORMATS, "wav", "aiff", "au"}} <= SUFFIXES


def test_a_disk_that_refuses_costs_the_clip_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = PendingClips(tmp_path / "capture", CaptureRules("all", 1.0, 0.5), 2**20)

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    assert clips.keep(b"first", HASHES[0]).name, "the folders are made when they are needed"
    for path in (tmp_path / "capture" / "pending").iterdir():
        path.unlink()
    monkeypatch.setattr(os, "write", full)
    assert clips.keep(b"x" * 100, HASHES[0]) == Pending(problem="No space left on device")
    monkeypatch.undo()
    assert list((tmp_path / "capture" / "pending").iterdir()) == []
    name = clips.keep(b"x" * 100, HASHES[0]).name
    assert (tmp_path / "capture" / "pending" / name).read_bytes() == b"x" * 100
    assert clips.keep(b"x" * 2**20, HASHES[1]) == Pending(problem="the spool is full")


def test_without_capture_the_steps_tell_each_other_nothing_new() -> None:
    """While a release comes in, the next step may be of an older one, which refuses what it does not know."""
    assert b"pending" not in Facts(fingerprint="f").encode()
    assert b"not_kept" not in Facts(fingerprint="f").encode()
