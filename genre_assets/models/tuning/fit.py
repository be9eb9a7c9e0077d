"""From a training set to one finished model of a family: search, refit, calibrate, evaluate, export, prove parity.

The one domain call of the `tuned_*` assets. Nothing here knows MLflow, S3 or Dagster.
"""

import importlib.metadata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import PermanentFailure
from genre_assets.models.data.split import TEST, TRAIN, VALIDATION
from genre_assets.models.data.training import Part, TrainingSet
from genre_assets.models.families.classifier import Classifier, Family
from genre_assets.models.onnx.graph import temper
from genre_assets.models.onnx.portable import MANIFEST_FILE, MODEL_FILE, ModelManifest, load_model, sha256
from genre_assets.models.tuning import evaluate, tune

if TYPE_CHECKING:
    import pandas as pd

PARITY = 1e-5
"""How far the exported graph's probabilities may be from the estimator's."""
LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "xgboost-cpu")


@dataclass(frozen=True)
class Trained:
    """A finished model with everything that is known about it."""

    family: str
    search: tune.Search
    classifier: Classifier
    temperature: float
    out_of_fold: NDArray[np.float64]
    """Calibrated answers for the training rows [n, n_classes], each from a model that had not seen its group."""
    evaluations: dict[str, evaluate.Evaluation]
    """`cross_validation` (the training rows, out of fold) and, where there are rows, `validation` and `test`."""
    songs: dict[str, evaluate.Recordings]

    @property
    def metrics(self) -> dict[str, float]:
        """Every figure under a flat name, intervals included."""
        flat = {"temperature": self.temperature, "tuning_seconds": self.search.seconds}
        for part, evaluation in self.evaluations.items():
            for name, interval in evaluation.metrics.items():
                flat[f"{part}_{name}"] = interval.value
                flat[f"{part}_{name}_low"] = interval.low
                flat[f"{part}_{name}_high"] = interval.high
            flat |= {f"{part}_recall_{genre}": recall.value for genre, recall in evaluation.recalls.items()}
        return flat


def train(
    family: Family,
    training: TrainingSet,
    *,
    storage_url: str,
    budget: tune.Budget,
    seed: int,
    workers: int = 0,
) -> Trained:
    """Tune over grouped cross-validation of the training rows, refit on all of them, calibrate and evaluate.

    Raises what `tune.search` raises.
    """
    rows = training.part(TRAIN)
    found = tune.search(
        family,
        rows,
        storage_url=storage_url,
        data_version=training.manifest.version,
        budget=budget,
        seed=seed,
        workers=workers,
    )
    raw = tune.out_of_fold(family, found.params, rows, seed)
    return finish(family.name, found, family.fit(found.params, rows, seed), raw, training, seed=seed)


def finish(
    family: str,
    found: tune.Search,
    classifier: Classifier,
    raw: NDArray[np.float64],
    training: TrainingSet,
    *,
    seed: int,
) -> Trained:
    """Calibrate and evaluate a fitted model; `raw` are the uncalibrated out-of-fold answers of the training rows."""
    rows = training.part(TRAIN)
    temperature = fit_temperature(raw, rows)
    answers = temper(raw, temperature)
    songs = {"cross_validation": songs_of(rows, answers)}
    for split in (VALIDATION, TEST):
        held = training.part(split)
        if len(held):
            songs[split] = songs_of(held, temper(classifier.probabilities(held.features), temperature))
    evaluations = {name: evaluate.evaluate(s, training.manifest.genres, seed=seed) for name, s in songs.items()}
    return Trained(family, found, classifier, temperature, answers, evaluations, songs)


def songs_of(rows: Part, answers: NDArray[np.floating[Any]]) -> evaluate.Recordings:
    """The answers for rows as answers for recordings."""
    return evaluate.by_recording(rows.labels, answers, rows.groups.tolist(), rows.recordings.tolist())


def fit_temperature(raw: NDArray[np.float64], rows: Part) -> float:
    """The temperature with the smallest song-level log-loss on out-of-fold answers; it changes no single row's label."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        songs = songs_of(rows, temper(raw, float(np.exp(log_temperature))))
        of_truth = songs.probabilities[np.arange(len(songs.truth)), songs.truth]
        return float(-np.log(np.maximum(of_truth, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded").x))


def write_folder(folder: Path, trained: Trained, training: TrainingSet, run_id: str) -> float:
    """Write `model.onnx` and `manifest.json`, and read them back as a server would.

    Returns the largest difference between the graph's probabilities and the estimator's over all rows at hand.
    Raises `PermanentFailure` when it is above `PARITY`: such a model must not be registered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = trained.classifier.to_onnx(len(training.manifest.columns), trained.temperature)
    (folder / MODEL_FILE).write_bytes(graph.SerializeToString())
    manifest = ModelManifest(
        family=trained.family,
        labels=training.manifest.genres,
        feature_set=training.manifest.feature_set,
        feature_set_version=training.manifest.feature_set_version,
        columns=training.manifest.columns,
        data_version=training.manifest.version,
        run_id=run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hashes={MODEL_FILE: sha256(folder / MODEL_FILE)},
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        cut=training.manifest.cut,
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    rows = training.part(TRAIN, VALIDATION, TEST).features
    expected = temper(trained.classifier.probabilities(rows), trained.temperature)
    difference = float(np.abs(load_model(folder).probabilities(rows) - expected).max())
    if difference > PARITY:
        raise PermanentFailure(
            f"the ONNX graph of {trained.family} differs from its estimator by {difference:.1e} (at most "
            f"{PARITY:.0e} is allowed); nothing was registered"
        )
    return difference


def reference(trained: Trained, training: TrainingSet) -> "pd.DataFrame":
    """The training rows as drift detection wants them: genre, predicted, recording, prob_<genre>, the features.

    Each row says which version of the feature code made it: rows of another are not compared with it.
    With the hash of each row's file, where it is known: what the model was trained on is no evidence about new audio.
    """
    import pandas as pd

    rows = training.frame[training.frame["split"] == TRAIN].reset_index(drop=True)
    genres = training.manifest.genres
    answers = pd.DataFrame(trained.out_of_fold.astype(np.float32), columns=[f"prob_{genre}" for genre in genres])
    predicted = pd.Series([genres[i] for i in trained.out_of_fold.argmax(axis=1)], name="predicted")
    made_by = {name: getattr(training.manifest, name) for name in ("feature_set", "feature_set_version")}
    names = ["genre", "recording", "group", "key", "fingerprint", "segment"]
    identity = rows[[name for name in names if name in rows]].assign(**made_by)
    return pd.concat([identity, predicted, answers, rows[list(training.manifest.columns)]], axis=1)
