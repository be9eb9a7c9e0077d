"""Sounds made by formula, and files of them in every format, for the tests of the audio stage."""

import io
from pathlib import Path

import numpy as np

from genre_assets.audio.dsp.filters import Floats

RATE = 22_050
SUBSET = Path(__file__).parents[2].parent / "shared" / "data" / "gtzan_subset"
NO_SUBSET = f"the shared clips are not at {SUBSET}"


def music(seconds: float = 30.0, *, seed: int = 0, rate: int = RATE) -> Floats:
    """A small piece: chords of decaying harmonics on a beat, with noise bursts; different for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(time))
    beat = 60 / rng.uniform(70, 160)
    for start in np.arange(0, seconds, beat):
        after = time >= start
        age = time[after] - start
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        for harmonic in range(1, 5):
            wave[after] += np.sin(2 * np.pi * root * harmonic * age) * np.exp(-3 * age) / harmonic
        wave[after] += 0.5 * rng.standard_normal(int(after.sum())) * np.exp(-40 * age)
    samples: Floats = (0.5 * wave / np.abs(wave).max()).astype(np.float32)
    return samples


def sound_file(samples: Floats, *, rate: int = RATE, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """A file by libsndfile; samples are [n] or [n, channels]."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def av_file(samples: Floats, *, rate: int = RATE, container: str = "ipod", codec: str = "aac") -> bytes:
    """A mono file by FFmpeg; `ipod` is m4a, `mp4` is mp4."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = rate
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, context.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()
