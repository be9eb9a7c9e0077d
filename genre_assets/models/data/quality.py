"""Properties of a training set that asset checks state, as pure functions. Each returns what it found, good or bad."""

import numpy as np

from genre_assets.checks import CheckFinding
from genre_assets.models.data.split import TRAIN, leaks
from genre_assets.models.data.training import TrainingSet, recordings_by_genre

MOST_IMBALANCED = 5.0
SHOWN = 20


def no_leakage(training: TrainingSet) -> CheckFinding:
    """Nothing stands in two splits."""
    found = leaks(training.frame, training.manifest.columns)
    text = "; ".join(found[:SHOWN]) or "no group, recording, file or near-duplicate row is in two splits"
    return CheckFinding(not found, text, {"leaks": len(found), "groups": training.manifest.groups})


def feature_schema(training: TrainingSet) -> CheckFinding:
    """The columns are the manifest's, 32-bit and finite."""
    wanted, frame = list(training.manifest.columns), training.frame
    missing = [c for c in wanted if c not in frame]
    other_type = [c for c in wanted if c in frame and frame[c].dtype != np.float32]
    broken = [c for c in wanted if c in frame and c not in other_type and not np.isfinite(frame[c]).all()]
    problems = [f"missing: {missing}"] * bool(missing) + [f"not 32-bit: {other_type}"] * bool(other_type)
    problems += [f"not finite: {broken}"] * bool(broken)
    text = "; ".join(problems) or f"{len(wanted)} columns of {training.manifest.feature_set}, 32-bit and finite"
    return CheckFinding(not problems, text, {"columns": len(wanted), "problems": len(problems)})


def class_balance(training: TrainingSet) -> CheckFinding:
    """The largest genre has at most `MOST_IMBALANCED` times the recordings of the smallest."""
    counts = training.frame.groupby("genre")["recording"].nunique()
    ratio = float(counts.max() / counts.min())
    text = f"{counts.idxmax()} has {counts.max()} recordings, {counts.idxmin()} has {counts.min()}"
    return CheckFinding(ratio <= MOST_IMBALANCED, text, {"ratio": ratio, "allowed": MOST_IMBALANCED})


def every_genre_in_every_part(training: TrainingSet) -> CheckFinding:
    """Each genre has recordings to train on and recordings that are held out."""
    counts = recordings_by_genre(training)
    trained = set(counts.get(TRAIN, {}))
    held = {genre for split, of_split in counts.items() if split != TRAIN for genre in of_split}
    lacking = [f"{g}: nothing held out" for g in training.manifest.genres if g not in held]
    lacking += [f"{g}: nothing to train on" for g in training.manifest.genres if g not in trained]
    text = "; ".join(lacking) or "every genre has training and held-out recordings"
    return CheckFinding(not lacking, text, {"lacking": len(lacking)})


def constant_columns(training: TrainingSet) -> CheckFinding:
    """Every column varies over the training rows."""
    features = training.part(TRAIN).features
    constant = [c for c, s in zip(training.manifest.columns, np.ptp(features, axis=0), strict=True) if s == 0]
    text = f"constant: {', '.join(constant[:SHOWN])}" if constant else "every column varies"
    return CheckFinding(not constant, text, {"constant": len(constant)})
