"""How a model bears what happens to audio on its way: the measure by which the fallback is chosen.

Held-out clips are made quieter, narrower, noisier, compressed, resampled and clipped, and go through the same feature
extraction as in serving. Where only tables are at hand, noise on the features stands in.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio import perturbations
from genre_assets.audio.perturbations import Samples
from genre_assets.models.data.training import Part
from genre_assets.models.onnx.portable import PortableModel
from genre_assets.models.tuning import evaluate

if TYPE_CHECKING:
    from genre_assets.audio.extract import Limits

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


def _noisy(samples: Samples, rate: int) -> tuple[Samples, int]:
    return perturbations.white_noise(samples, 20, np.random.default_rng(0)), rate  # the same noise for every model


PERTURBATIONS: Mapping[str, Callable[[Samples, int], tuple[Samples, int]]] = {
    "gain": lambda samples, rate: (perturbations.gain(samples, 0.25), rate),  # 12 dB quieter
    # As through a small loudspeaker or a telephone.
    "band_limit": lambda samples, rate: (perturbations.band_limit(samples, rate, 200, 3400), rate),
    "noise": _noisy,
    "mp3": lambda samples, rate: perturbations.mp3(samples, rate, 32_000),
    "resample": perturbations.half_rate,
    "clipping": lambda samples, rate: (perturbations.clipping(samples, 4), rate),  # overdriven by 12 dB
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
