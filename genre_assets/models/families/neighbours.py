"""Nearest neighbours of scikit-learn, in a space that is tuned with them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.training import Part
from genre_assets.models.families.classifier import Floats, Params
from genre_assets.models.onnx import graph
from genre_assets.models.onnx.portable import INPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from optuna.trial import Trial


DEFAULTS: Params = {"k": 7, "metric": "cosine", "space": "scaled", "votes": "distance", "balance": "none"}


@dataclass(frozen=True)
class Spec:
    """k nearest neighbours as arrays.

    A row is centred, multiplied by `projection` [d, p], perhaps brought to unit length, and compared with `rows`
    [m, p] (`labels` [m]) by the euclidean or cityblock distance.
    """

    centre: NDArray[np.float64]
    projection: NDArray[np.float64]
    unit_length: bool
    metric: str
    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    k: int
    softening: float | None
    """None: every neighbour has one vote; else 1 / (distance + softening)."""


@dataclass(frozen=True)
class NearestNeighbours:
    """scikit-learn's brute-force neighbours behind robust scaling and, by choice, a linear map and unit length."""

    estimator: Any
    spec: Spec
    classes: int

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes], not calibrated."""
        answer = np.zeros((len(features), self.classes))
        answer[:, self.estimator.classes_] = self.estimator.predict_proba(_placed(features, self.spec))
        return answer

    def importance(self) -> None:
        """Neighbours have no such thing."""
        return

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""
        return _graph(self.spec, width, self.classes, temperature)


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
    spec = Spec(
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
    return NearestNeighbours(estimator.fit(spec.rows, rows.labels), spec, rows.classes)


def _placed(features: Floats, spec: Spec) -> NDArray[np.float64]:
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
        kept: NDArray[np.float64] = axes.scalings_[:, : min(len(axes.classes_) - 1, scaled.shape[1])]
        return kept
    return np.eye(scaled.shape[1])


def _oversampled(rows: Part, seed: int) -> Part:
    from imblearn.over_sampling import RandomOverSampler

    index = np.arange(len(rows))[:, None]
    chosen, _ = RandomOverSampler(random_state=seed).fit_resample(index, rows.labels)
    return rows.take(chosen[:, 0])


def _graph(model: Spec, width: int, outputs: int, temperature: float) -> "ModelProto":
    """Nearest neighbours, in 64 bits up to the votes (distances that are nearly equal must sort as in the estimator)."""
    g = graph.Graph()
    rows = g.add("Cast", INPUT, to=11)
    rows = g.add("MatMul", g.add("Sub", rows, g.constant(model.centre, float)), g.constant(model.projection, float))
    if model.unit_length:
        norm = g.add("ReduceL2", rows, axes=[1], keepdims=1)
        rows = g.add("Div", rows, g.add("Max", norm, g.constant(1e-12, float)))
    distance = _cityblock(g, rows, model.rows) if model.metric == "cityblock" else _euclidean(g, rows, model.rows)
    g.nodes.append(_top_k(distance, g.constant([model.k], np.int64)))
    votes = g.add("Gather", g.constant(np.eye(outputs)[model.labels], float), "nearest", axis=0)  # [n, k, g]
    if model.softening is not None:
        weight = g.add("Reciprocal", g.add("Add", "nearest_distance", g.constant(model.softening, float)))
        votes = g.add("Mul", votes, g.add("Unsqueeze", weight, g.constant([2], np.int64)))
    summed = g.add("ReduceSum", votes, g.constant([1], np.int64), keepdims=0)
    total = g.add("ReduceSum", summed, g.constant([1], np.int64), keepdims=1)
    share = g.add("Cast", g.add("Div", summed, total), to=1)
    return graph.finish(g, share, width, outputs, temperature)


def _euclidean(g: graph.Graph, rows: str, reference: NDArray[np.float64]) -> str:
    """By |a|² + |b|² - 2ab in 64 bits: no [n, m, p] array."""
    own = g.add("ReduceSumSquare", rows, axes=[1], keepdims=1)
    cross = g.add("MatMul", rows, g.constant(-2 * reference.T, float))
    squared = g.add("Add", g.add("Add", cross, own), g.constant((reference**2).sum(axis=1)[None], float))
    return g.add("Sqrt", g.add("Max", squared, g.constant(0.0, float)))


def _cityblock(g: graph.Graph, rows: str, reference: NDArray[np.float64]) -> str:
    spread = g.add("Sub", g.add("Unsqueeze", rows, g.constant([1], np.int64)), g.constant(reference[None], float))
    return g.add("ReduceSum", g.add("Abs", spread), g.constant([2], np.int64), keepdims=0)


def _top_k(distance: str, k: str) -> "NodeProto":
    from onnx import helper

    return helper.make_node("TopK", [distance, k], ["nearest_distance", "nearest"], axis=1, largest=0, sorted=1)
