"""Golden vectors: the values of both feature sets on fixed sounds. Whatever runs the features must give these.

A deliberate change of a value is a new version of its feature set: `python -m genre_assets_tests.audio.feature_sets.test_golden`
writes the vectors anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.dsp import kernel
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.extract import FEATURE_SETS, extract
from genre_assets_tests.audio.sounds import RATE, music

GOLDEN = Path(__file__).with_name("golden.json")


def sounds() -> dict[str, tuple[Floats, int]]:
    time = np.arange(3 * RATE) / RATE
    return {
        "music": (music(10, seed=11), RATE),
        "short": (music(1.1, seed=21), RATE),  # a seed whose tempo is no near tie, which rounding would decide
        "another rate": (music(3, seed=13, rate=44_100), 44_100),
        "a tone": (np.sin(2 * np.pi * 440 * time).astype(np.float32), RATE),
        "clicks": ((np.arange(3 * RATE) % 11_025 < 3).astype(np.float32), RATE),
        "silence at both ends": (np.pad(music(2, seed=14), 20_000), RATE),
    }


def vectors() -> dict[str, dict[str, object]]:
    return {
        name: {
            "version": features.version,
            **{s: extract(wave, rate, feature_set=name).tolist() for s, (wave, rate) in sounds().items()},
        }
        for name, features in FEATURE_SETS.items()
    }


@pytest.mark.parametrize("with_kernel", [True, False], ids=["kernel", "NumPy"])
@pytest.mark.parametrize("feature_set", FEATURE_SETS)
@pytest.mark.parametrize("name", sounds())
def test_features_are_the_golden_ones(name: str, feature_set: str, with_kernel: bool) -> None:
    golden = json.loads(GOLDEN.read_text())[feature_set]
    assert golden["version"] == FEATURE_SETS[feature_set].version, "another version: write the vectors anew"
    wave, rate = sounds()[name]
    if with_kernel:
        found = extract(wave, rate, feature_set=feature_set)
    else:
        with kernel.disabled():
            found = extract(wave, rate, feature_set=feature_set)
    expected = np.array(golden[name])
    # The width of a pure tone is the small difference of two large numbers: a tenth of a hertz is rounding (0.08 between
    # the vector units of two processors).
    absolute = [0.1 if column.startswith("bandwidth") else 2e-5 for column in FEATURE_SETS[feature_set].columns]
    assert (np.abs(found - expected) <= 5e-4 * np.abs(expected) + absolute).all()


@pytest.mark.parametrize("gain", [0.01, 0.5, 30.0])
def test_the_default_set_does_not_hear_the_gain(gain: float) -> None:
    wave = music(6, seed=3)
    changed = extract(wave * np.float32(gain), RATE)
    np.testing.assert_allclose(changed, extract(wave, RATE), rtol=1e-3, atol=2e-3)


def test_the_default_set_hardly_hears_the_sample_rate() -> None:
    from scipy.signal import resample_poly

    wave = music(6, seed=3)
    other = extract(resample_poly(wave, 2, 1).astype(np.float32), 2 * RATE)
    columns = FEATURE_SETS["default"].columns
    near = np.isclose(other, extract(wave, RATE), rtol=0.05, atol=0.5)
    assert near.mean() > 0.97, [c for c, fine in zip(columns, near, strict=True) if not fine]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(vectors(), indent=0) + "\n")
