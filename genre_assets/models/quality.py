"""Properties of a training set that asset checks state, as pure functions. Each returns what it found, good or bad."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genre_assets.models.split import TRAIN, leaks
from genre_assets.models.training import TrainingSet, recordings_by_genre

MOST_IMBALANCED = 5.0
SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """Whether the property holds, in words and in figures."""

    sound: bool
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def no_leakage(training: TrainingSet) -> Finding:
    """Nothing stands in two splits."""
    found = leaks(training.frame, training.manifest.columns)
    text = "; ".join(found[:SHOWN]) or "no group, recording, file or near-duplicate row is in two splits"
    return Finding(not found, text, {"leaks": len(found), "groups": training.manifest.groups})


def feature_schema(training: TrainingSet) -> Finding:
    """The columns are the manifest's, 32-bit and finite."""
    wanted, frame = list(training.manifest.columns), training.frame
    missing = [c for c in wanted if c not in frame]
    other_type = [c for c in wanted if c in frame and frame[c].dtype != np.float32]
    broken = [c for c in wanted if c in frame and c not in other_type and not np.isfinite(frame[c]).all()]
    problems = [f"missing: {missing}"] * bool(missing) + [f"not 32-bit: {other_type}"] * bool(other_type)
    problems += [f"not finite: {broken}"] * bool(broken)
    text = "; ".join(problems) or f"{len(wanted)} columns of {training.manifest.feature_set}, 32-bit and finite"
    return Finding(not problems, text, {"columns": len(wanted), "problems": len(problems)})


def class_balance(training: TrainingSet) -> Finding:
    """The largest genre has at most `MOST_IMBALANCED` times the recordings of the smallest."""
    counts = training.frame.groupby("genre")["recording"].nunique()
    ratio = float(counts.max() / counts.min())
    text = f"{counts.idxmax()} has {counts.max()} recordings, {counts.idxmin()} has {counts.min()}"
    return Finding(ratio <= MOST_IMBALANCED, text, {"ratio": ratio, "allowed": MOST_IMBALANCED})


def every_genre_in_every_part(training: TrainingSet) -> Finding:
    """Each genre has recordings to train on and recordings that are held out."""
    counts = recordings_by_genre(training)
    trained = set(counts.get(TRAIN, {}))
    held = {genre for split, of_split in counts.items() if split != TRAIN for genre in of_split}
    lacking = [f"{g}: nothing held out" for g in training.manifest.genres if g not in held]
    lacking += [f"{g}: nothing to train on" for g in training.manifest.genres if g not in trained]
    text = "; ".join(lacking) or "every genre has training and held-out recordings"
    return Finding(not lacking, text, {"lacking": len(lacking)})


def constant_columns(training: TrainingSet) -> Finding:
    """Every column varies over the training rows."""
    features = training.part(TRAIN).features
    constant = [c for c, s in zip(training.manifest.columns, np.ptp(features, axis=0), strict=True) if s == 0]
    text = f"constant: {', '.join(constant[:SHOWN])}" if constant else "every column varies"
    return Finding(not constant, text, {"constant": len(constant)})
