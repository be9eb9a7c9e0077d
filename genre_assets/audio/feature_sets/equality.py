"""The reference's 37 features computed the long way with librosa, and how near `gtzan37` must come to them.

Used by tests and by the report in docs/features_equality.md; nothing in production imports it.
"""

import importlib
from typing import Any

import numpy as np

from genre_assets.audio.dsp.filters import Floats

RELATIVE = 2e-4
DC_ABSOLUTE = 1e-8  # the means of waveforms around zero: rounding noise of about 1e-5 in size
DC_COLUMNS = frozenset({"harmonic_mean_0", "percussive_mean_0"})


def within_tolerance(column: str, value: float, expected: float) -> bool:
    """Whether a value of `gtzan37` is equal to the reference's: tempo exactly, the others within rounding."""
    if column == "beat_track":
        return abs(value - expected) <= 1e-5 * abs(expected) / 128 + 1e-5  # both are float32 of the same number
    if column in DC_COLUMNS:
        return abs(value - expected) <= DC_ABSOLUTE
    return abs(value - expected) <= RELATIVE * abs(expected)


def by_librosa(samples: Floats, sample_rate: int) -> dict[str, float]:
    """The columns by name, from librosa's own functions, each on its own, as the reference system calls them."""
    librosa: Any = importlib.import_module("librosa")  # here, not above: it takes seconds; Any: it loads lazily
    samples, _ = librosa.effects.trim(samples)
    features: dict[str, float] = {}

    def keep(name: str, values: Any) -> None:
        array = np.asarray(values, np.float64)
        features[f"{name}_mean_0"], features[f"{name}_var_0"] = float(array.mean()), float(array.var())

    keep("rms", librosa.feature.rms(y=samples))
    keep("spectral_rolloff", _scaled(librosa.feature.spectral_rolloff(y=samples, sr=sample_rate)))
    keep("spectral_bandwidth", _scaled(librosa.feature.spectral_bandwidth(y=samples, sr=sample_rate)))
    keep("percussive", librosa.effects.percussive(samples))
    keep("harmonic", librosa.effects.harmonic(samples))
    tempo, _ = librosa.beat.beat_track(y=samples, sr=sample_rate)
    features["beat_track"] = float(np.atleast_1d(tempo)[0])
    coefficients = np.abs(librosa.feature.mfcc(y=samples, sr=sample_rate, n_mfcc=13)).astype(np.float64)
    for k, values in enumerate(coefficients):
        features[f"mfcc_mean_{k}"], features[f"mfcc_var_{k}"] = float(values.mean()), float(values.var())
    return features


def _scaled(values: Any) -> Any:
    """Min-max scaled to [0, 1] within the clip."""
    lowest, highest = values.min(), values.max()
    return (values - lowest) / ((highest - lowest) or 1.0)
