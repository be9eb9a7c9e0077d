"""Resampling: audio at another sample rate. A feature set computes at one rate, whatever the file's is."""

import numpy as np

from genre_assets.audio.dsp.filters import Floats


def resampled(samples: Floats, sample_rate: int, wanted_rate: int) -> Floats:
    """Mono samples [n] at the wanted rate [about n * wanted_rate / sample_rate] (polyphase, Kaiser window); rates in Hz.

    The same samples if they have that rate. Frequencies above half the wanted rate are filtered out.
    """
    if sample_rate == wanted_rate:
        return samples
    from scipy.signal import resample_poly

    divisor = int(np.gcd(sample_rate, wanted_rate))
    found: Floats = resample_poly(samples, wanted_rate // divisor, sample_rate // divisor).astype(np.float32)
    return found
