"""Nearest neighbours of scikit-learn, in a space that is tuned with them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.genres import GENRES
from genre_assets.models import graph
from genre_assets.models.classifier import Floats, Params
from genre_assets.models.training import Part

if TYPE_CHECKING:
    from onnx import ModelProto
    from optuna.trial import Trial


DEFAULTS: Params = {"k": 7, "metric": "cosine", "space": "scaled", "votes": "distance", "balance": "none"}


@dataclass(frozen=True)
class NearestNeighbours:
    """scikit-learn's brute-force neighbours behind robust scaling and, by choice, a linear map and unit length."""

    estimator: Any
    spec: graph.Neighbours

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, genres], not calibrated."""
        answer = np.zeros((len(features), len(GENRES)))
        answer[:, self.estimator.classes_] = self.estimator.predict_proba(_placed(features, self.spec))
        return answer

    def importance(self) -> None:
        """Neighbours have no such thing."""
        return

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""
        return graph.nearest(self.spec, width, len(GENRES), temperature)


def suggest(trial: "Trial") -> Params:
    """The search space."""
    return {
        "k": trial.suggest_int("k", 1, 40, log=True),
        "metric": trial.suggest_categorical("metric", ["cityblock", "cosine", "euclidean"]),
        "space": trial.suggest_categorical("space", ["scaled", "mahalanobis", "discriminant"]),
        "votes": trial.suggest_categorical("votes", ["uniform", "distance"]),
        "balance": trial.suggest_categorical("balance", ["none", "oversample"]),
    }


def fit(params: Params, rows: Part, seed: int) -> NearestNeighbours:
    """Fit on the rows; the same rows, parameters and seed give the same model."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import RobustScaler

    if params["balance"] == "oversample":
        rows = _oversampled(rows, seed)
    scaler = RobustScaler().fit(rows.features.astype(np.float64))
    scaled = scaler.transform(rows.features.astype(np.float64))
    spec = graph.Neighbours(
        centre=scaler.center_,
        projection=np.diag(1 / scaler.scale_) @ _linear_map(params["space"], scaled, rows.labels),
        unit_length=params["metric"] == "cosine",
        metric="cityblock" if params["metric"] == "cityblock" else "euclidean",
        rows=np.empty((0, 0)),
        labels=rows.labels,
        k=min(params["k"], len(rows)),
        softening=1e-3 if params["votes"] == "distance" else None,
    )
    spec = replace(spec, rows=_placed(rows.features, spec))
    weights = "uniform" if spec.softening is None else lambda distance: 1 / (distance + spec.softening)
    estimator = KNeighborsClassifier(spec.k, weights=weights, metric=spec.metric, algorithm="brute", n_jobs=1)
    return NearestNeighbours(estimator.fit(spec.rows, rows.labels), spec)


def _placed(features: Floats, spec: graph.Neighbours) -> NDArray[np.float64]:
    """Rows in the space where distances are taken."""
    rows: NDArray[np.float64] = (features.astype(np.float64) - spec.centre) @ spec.projection
    if spec.unit_length:
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def _linear_map(space: str, scaled: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """[d, p]: identity; whitening by the shrunk covariance (euclidean is then mahalanobis); discriminant axes."""
    from sklearn.covariance import LedoitWolf
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if space == "mahalanobis":
        whitening: NDArray[np.float64] = np.linalg.cholesky(LedoitWolf().fit(scaled).precision_)
        return whitening
    if space == "discriminant":
        axes = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(scaled, labels)
        kept: NDArray[np.float64] = axes.scalings_[:, : axes._max_components]
        return kept
    return np.eye(scaled.shape[1])


def _oversampled(rows: Part, seed: int) -> Part:
    from imblearn.over_sampling import RandomOverSampler

    index = np.arange(len(rows))[:, None]
    chosen, _ = RandomOverSampler(random_state=seed).fit_resample(index, rows.labels)
    return rows.take(chosen[:, 0])
