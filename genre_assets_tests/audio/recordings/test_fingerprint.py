"""A recording is recognised after re-encoding, resampling, a change of gain and a cut; another one never is."""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.signal import resample_poly

from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.dsp import kernel
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.recordings.fingerprint import (
    MAX_ERROR_RATE,
    error_rate,
    recording_id,
    same_recordings,
    signature,
)
from genre_assets_tests.audio.sounds import NO_SUBSET, RATE, SUBSET, av_file, music, sound_file

SOUND = music(12, seed=1)
COPIES: dict[str, Callable[[], bytes]] = {
    "quieter": lambda: sound_file(SOUND * np.float32(0.1)),
    "louder, clipped": lambda: sound_file(np.clip(SOUND * np.float32(3), -1, 1)),
    "mp3": lambda: sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III"),
    "AAC": lambda: av_file(SOUND),
    "Vorbis": lambda: sound_file(SOUND, container="OGG", subtype="VORBIS"),
    "twice the rate": lambda: sound_file(resample_poly(SOUND, 2, 1).astype(np.float32), rate=2 * RATE),
    "without its start": lambda: sound_file(SOUND[50_001:]),
    "two channels": lambda: sound_file(np.stack([SOUND, SOUND], axis=1)),
}


def signature_of(file: bytes) -> bytes:
    clip = decode(file)
    return signature(clip.samples, clip.sample_rate)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_recognised(name: str) -> None:
    others = [signature(music(12, seed=seed), RATE) for seed in (2, 3)]
    signatures = [signature(SOUND, RATE), *others, signature_of(COPIES[name]())]
    assert same_recordings(signatures) == [[0, 3]]


def test_different_music_is_never_the_same_recording() -> None:
    signatures = [signature(music(6, seed=seed), RATE) for seed in range(30)]
    assert same_recordings(signatures) == []


@pytest.mark.skipif(not SUBSET.exists(), reason=NO_SUBSET)
def test_no_two_of_the_shared_clips_are_taken_for_one() -> None:
    signatures = []
    for path in sorted(SUBSET.glob("*/*.wav"))[::3]:
        clip = decode(path)
        signatures.append(signature(clip.samples, clip.sample_rate))
    assert same_recordings(signatures) == []


def test_the_margin_is_wide_on_both_sides() -> None:
    first = np.frombuffer(signature(SOUND, RATE), "<u2")
    copy = np.frombuffer(signature_of(COPIES["mp3"]()), "<u2")
    other = np.frombuffer(signature(music(12, seed=2), RATE), "<u2")
    assert min(error_rate(first, copy, lag) for lag in range(-4, 5)) < MAX_ERROR_RATE / 2
    assert min(error_rate(first, other, lag) for lag in range(-60, 61)) > MAX_ERROR_RATE * 1.3


@pytest.mark.parametrize("sound", [music(0.5), np.zeros(200_000, np.float32), np.zeros(10, np.float32)])
def test_sounds_without_features_to_compare_are_left_alone(sound: Floats) -> None:
    found = signature(sound, RATE)
    assert same_recordings([found, found[:2], b""]) == []
    assert recording_id(b"", "a") != recording_id(b"", "b")


@pytest.mark.parametrize("with_kernel", [True, False], ids=["kernel", "NumPy"])
@pytest.mark.parametrize(
    ("rate", "expected"), [(22_050, "1cc2b7142043b7f9"), (44_100, "a278f23e88f188fc"), (8_000, "45591a19e4d218b0")]
)
def test_signatures_stay_as_they_are(rate: int, expected: str, with_kernel: bool) -> None:
    """Stored ones are compared with new ones: a change of a bit is a new `fingerprint.VERSION`."""
    noise = np.random.default_rng(3).uniform(-1, 1, 150_000).astype(np.float32)
    with nullcontext() if with_kernel else kernel.disabled():
        found = signature(noise, rate)
    assert hashlib.sha256(found).hexdigest()[:16] == expected
