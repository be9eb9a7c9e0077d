"""How the default feature set was chosen: grouped validation on the shared clips, whole, by parts, and on altered audio.

Forty clips are few: the figures separate good from bad, not good from slightly better. Segments of a clip stay on one side
of every split; folds are drawn anew ten times, and differences between sets are paired over the folds.

Run alone: python -m benchmarks.run audio_feature_choice
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks._audio_common import clips, row
from genre_assets.audio import perturbations
from genre_assets.audio.decoding import segments
from genre_assets.audio.decoding.decode import Clip, decode
from genre_assets.audio.dsp.filters import Floats
from genre_assets.audio.extract import FEATURE_SETS, extract
from genre_assets.audio.feature_sets import default

REPEATS = 10
FOLDS = 4
Table = NDArray[np.float64]

PARTS: dict[str, tuple[str, ...]] = {
    "MFCC": ("mfcc_",),
    "contrast": ("contrast_",),
    "shape": ("flatness_", "centroid_", "bandwidth_", "rolloff_", "zero_crossings_"),
    "dynamics": ("level_",),
    "harmonic share": ("harmonic_share_",),
    "chroma": ("chroma_",),
    "rhythm": ("tempo", "beat_strength", "onset_"),
    "modulation": ("modulation_",),
}
ALTERATIONS: dict[str, Callable[[Floats, int], Floats]] = {
    "12 dB quieter": lambda samples, _: perturbations.gain(samples, 0.25),
    "mp3 and back": lambda samples, rate: _through_mp3(samples, rate),
    "low-passed at 4 kHz": lambda samples, rate: perturbations.band_limit(samples, rate, 0, 4000, order=8),
    "noise at 25 dB": lambda samples, _: perturbations.white_noise(samples, 25, np.random.default_rng(0)),
}


def _through_mp3(samples: Floats, rate: int) -> Floats:
    """By libsndfile at its usual quality: `perturbations.mp3` is of a stated rate, which is another measurement."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return decode(file.getvalue()).samples


def features_of(clip: Clip, feature_set: str, alter: Callable[[Floats, int], Floats] | None = None) -> Table:
    """[3, columns]: the clip's segments of 10 s."""
    samples = alter(clip.samples, clip.sample_rate) if alter else clip.samples
    parts = segments.cut(samples, clip.sample_rate, segment_seconds=10.0, max_seconds=30.0)[:3]
    rows: list[Table] = [
        extract(part.samples, clip.sample_rate, feature_set=feature_set).astype(np.float64) for part in parts
    ]
    return np.stack(rows)


def fold_accuracies(train: Table, test: Table, labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """Accuracy by clip (its segments vote) of each fold of each repeat; tables are [clips, segments, columns]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = []
    for repeat in range(REPEATS):
        for inside, outside in StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(labels, labels):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
            rows = train[inside].reshape(-1, train.shape[2])
            model.fit(rows, np.repeat(labels[inside], train.shape[1]))
            votes = model.predict_proba(test[outside].reshape(-1, test.shape[2]))
            votes = votes.reshape(len(outside), test.shape[1], -1).mean(axis=1)
            scores.append(float(np.mean(model.classes_[votes.argmax(axis=1)] == labels[outside])))
    return np.array(scores)


def _positions(prefixes: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(default.COLUMNS) if name.startswith(tuple(prefixes))]


def run() -> list[dict[str, object]]:
    """Accuracies as benchmark rows; the first two have the bar that the choice rests on."""
    paths = clips()
    labels = np.array([path.parent.name for path in paths])
    decoded = [decode(path) for path in paths]
    tables = {name: np.stack([features_of(clip, name) for clip in decoded]) for name in FEATURE_SETS}
    whole = {name: fold_accuracies(table, table, labels) for name, table in tables.items()}
    gain = float((whole["default"] - whole["gtzan37"]).mean())
    rows = [
        row("accuracy by clip, gtzan37", float(whole["gtzan37"].mean()), "share", __name__),
        row("accuracy by clip, default", float(whole["default"].mean()), "share", __name__),
        row("default over gtzan37, accuracy", gain, "share", __name__, bar="> 0", holds=gain > 0),
    ]
    for name, alter in ALTERATIONS.items():
        altered = {s: np.stack([features_of(clip, s, alter) for clip in decoded]) for s in FEATURE_SETS}
        for feature_set, table in altered.items():
            accuracy = float(fold_accuracies(tables[feature_set], table, labels).mean())
            rows.append(row(f"accuracy, {feature_set}, {name}", accuracy, "share", __name__))
    for part, prefixes in PARTS.items():
        mine = _positions(prefixes)
        others = [i for i in range(len(default.COLUMNS)) if i not in mine]
        alone = fold_accuracies(tables["default"][..., mine], tables["default"][..., mine], labels)
        without = fold_accuracies(tables["default"][..., others], tables["default"][..., others], labels)
        rows.append(row(f"default, only {part} ({len(mine)})", float(alone.mean()), "share", __name__))
        loss = float((whole["default"] - without).mean())
        rows.append(row(f"default, lost without {part}", loss, "share", __name__))
    return rows
