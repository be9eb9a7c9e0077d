"""How a model bears what happens to audio on its way: the measure by which the fallback is chosen.

Held-out clips are made quieter, narrower, noisier, compressed, resampled and clipped, and go through the same feature
extraction as in serving. Where only tables are at hand, noise on the features stands in.
"""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.training import Part
from genre_assets.models.onnx.portable import PortableModel
from genre_assets.models.tuning import evaluate

if TYPE_CHECKING:
    from genre_assets.audio.extract import Limits

Samples = NDArray[np.float32]
NOISE = 0.25
"""On features: normal, in units of each column's interquartile range over the training rows."""


@dataclass(frozen=True)
class Perturbed:
    """Rows of perturbed clips: features float32 [n, d], labels [n], the perturbation of each row [n], its group [n].

    Rows of one clip are not independent: they share a group.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    groups: NDArray[np.str_]


@dataclass(frozen=True)
class Robustness:
    """What the model is worth over all perturbed rows, and its accuracy under each perturbation."""

    evaluation: evaluate.Evaluation
    accuracy: Mapping[str, float]

    @property
    def objective(self) -> float:
        """By which the most robust model is found."""
        return self.evaluation.objective.value


def gain(samples: Samples, rate: int) -> tuple[Samples, int]:
    """12 dB quieter."""
    return samples * np.float32(0.25), rate


def band_limit(samples: Samples, rate: int) -> tuple[Samples, int]:
    """As through a small loudspeaker or a telephone: 200 Hz to 3.4 kHz."""
    from scipy.signal import butter, sosfilt

    high = min(3400.0, 0.45 * rate)
    return sosfilt(butter(4, (200.0, high), "bandpass", fs=rate, output="sos"), samples).astype(np.float32), rate


def noise(samples: Samples, rate: int) -> tuple[Samples, int]:
    """White noise 20 dB below the music."""
    level = 0.1 * np.sqrt(np.mean(samples.astype(np.float64) ** 2))
    return samples + (level * np.random.default_rng(0).normal(size=len(samples))).astype(np.float32), rate


def mp3(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Through an mp3 encoder at 32 kbit/s and back."""
    import av

    from genre_assets.audio.decoding.decode import decode

    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono")
        stream.bit_rate = 32_000
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode(file.getvalue(), max_seconds=len(samples) / rate + 1, offset="start")
    return clip.samples[: len(samples)], clip.sample_rate


def resample(samples: Samples, rate: int) -> tuple[Samples, int]:
    """At half the rate."""
    from scipy.signal import resample_poly

    return resample_poly(samples, 1, 2).astype(np.float32), rate // 2


def clipping(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Overdriven by 12 dB."""
    loud = samples * np.float32(4 / max(float(np.abs(samples).max()), 1e-9))
    return np.clip(loud, -1, 1), rate


PERTURBATIONS: Mapping[str, Callable[[Samples, int], tuple[Samples, int]]] = {
    "gain": gain,
    "band_limit": band_limit,
    "noise": noise,
    "mp3": mp3,
    "resample": resample,
    "clipping": clipping,
}


def perturb_audio(clips: Iterable[tuple[bytes, int, str]], *, feature_set: str, limits: "Limits") -> Perturbed | None:
    """Rows of the first segment of each clip (bytes, label, group) under each perturbation; None when no clip can be read.

    A perturbed clip of which nothing is left to extract (a whisper at -12 dB) is left out.
    """
    from genre_assets.audio.decoding.reasons import AudioError
    from genre_assets.audio.extract import decode_limited, extract

    features, labels, names, groups = [], [], [], []
    for data, label, group in clips:
        try:
            clip = decode_limited(data, limits)
        except AudioError:
            continue
        first = clip.samples[: round(limits.segment_seconds * clip.sample_rate)]
        for name, perturbation in PERTURBATIONS.items():
            try:
                features.append(extract(*perturbation(first, clip.sample_rate), feature_set=feature_set))
            except AudioError:
                continue
            labels.append(label)
            names.append(name)
            groups.append(group)
    if not features:
        return None
    return Perturbed(np.stack(features), np.array(labels, dtype=np.int64), np.array(names), np.array(groups))


def perturb_features(rows: Part, train: Part, *, seed: int) -> Perturbed:
    """The rows with noise on every feature."""
    spread = np.subtract(*np.percentile(train.features, [75, 25], axis=0))
    moved = rows.features + NOISE * spread * np.random.default_rng(seed).normal(size=rows.features.shape)
    return Perturbed(moved.astype(np.float32), rows.labels, np.full(len(rows), "feature_noise"), rows.groups)


def robustness_of(model: PortableModel, rows: Perturbed) -> Robustness:
    """How the model answers for perturbed rows."""
    answers = model.probabilities(rows.features)
    right = answers.argmax(axis=1) == rows.labels
    each = {str(name): float(right[rows.names == name].mean()) for name in np.unique(rows.names)}
    every = np.array([f"{i:06d}" for i in range(len(right))])  # each perturbed clip counts as a recording
    heard = evaluate.Recordings(rows.labels, answers.astype(np.float64), rows.groups, every)
    return Robustness(evaluate.evaluate(heard, model.manifest.labels), each)


def spread_over_genres(keys: Mapping[str, int], count: int) -> list[str]:
    """At most `count` keys, taken from the genres in turn (`keys`: key -> label), in key order within a genre."""
    of_genre = [sorted(k for k, label in keys.items() if label == genre) for genre in sorted(set(keys.values()))]
    turns = max((len(k) for k in of_genre), default=0)
    return [k[turn] for turn in range(turns) for k in of_genre if turn < len(k)][:count]
