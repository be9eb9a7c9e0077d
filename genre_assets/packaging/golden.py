"""Golden clips: audio whose answers are computed offline and must come out of Triton the same.

Synthesised, deterministic and small, in the ways that audio differs: rates, channels, lengths, a file that is broken.
"""

import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets.audio.extract import Limits
from genre_assets.inference.answers import Answer, Predictor, answer
from genre_assets.inference.features import FeatureMaker
from genre_assets.inference.items import ItemLimits, ItemReader
from genre_assets.packaging.ensemble import EnsembleSpec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TOLERANCE = 1e-5


def clips() -> dict[str, bytes]:
    """File name -> bytes."""
    return {
        "long_mono_22050.wav": _wav(22_050, 1, 21.0, seed=1),
        "stereo_44100.wav": _wav(44_100, 2, 6.0, seed=2),
        "short_16000.wav": _wav(16_000, 1, 2.5, seed=3),
        "broken.wav": b"RIFF" + bytes(range(200)),
    }


def expected(items: list[bytes], folder: Path, spec: EnsembleSpec) -> list[Answer]:
    """The offline path's answers of the model in `folder`: the same functions, without Triton."""
    maker = FeatureMaker(
        ItemReader(ItemLimits(2**30, 2**31, ()), _no_store),
        Limits(
            max_seconds=spec.max_seconds,
            segment_seconds=spec.segment_seconds,
            offset=spec.offset,
            min_seconds=spec.min_seconds,
        ),
        feature_set=spec.feature_set,
        version=spec.feature_set_version,
        segments=spec.segments,
    )
    features, facts = maker.make(items)
    scores = Predictor(folder).scores(features)
    return [answer(f, s, spec.labels) for f, s in zip(facts, scores, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """Offline and served answers of one clip by one version."""

    clip: str
    version: int
    offline: str
    served: str
    difference: float  # the largest of the probabilities

    @property
    def agrees(self) -> bool:
        """Labels equal (or the same error), probabilities within the tolerance."""
        return self.offline == self.served and self.difference <= TOLERANCE


def compare(
    clip: str, version: int, offline: dict[str, Any], label: str, probabilities: list[float], error: str
) -> Comparison:
    """Compare one served answer with the stored offline one."""
    served = error.partition(":")[0] if error else label
    wanted = offline["code"] or offline["label"]
    if error or offline["code"]:
        return Comparison(clip, version, wanted, served, 0.0)
    difference = float(np.abs(np.asarray(probabilities) - np.asarray(offline["probabilities"])).max())
    return Comparison(clip, version, wanted, served, difference)


def _no_store() -> "S3Client":
    raise AssertionError("golden clips are bytes")


def _wav(rate: int, channels: int, seconds: float, seed: int) -> bytes:
    """A chord with a pulse and noise, 16-bit PCM."""
    random = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    tone = sum(np.sin(2 * np.pi * f * time) for f in (110 * seed, 165.0 * seed, 277.2 * seed))
    pulse = np.exp(-8 * (time * 2 % 1.0)) * random.standard_normal(len(time))
    mono = 0.12 * tone + 0.2 * pulse
    frames = np.stack([np.roll(mono, 37 * c) for c in range(channels)], axis=1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(frames, -1, 1) * 32_000).astype("<i2").tobytes())
    return buffer.getvalue()
