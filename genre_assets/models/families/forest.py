"""Random forest of scikit-learn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.training import Part
from genre_assets.models.families.classifier import SMALL, Floats, Params, sample_weights
from genre_assets.models.onnx import graph

if TYPE_CHECKING:
    from onnx import ModelProto
    from optuna.trial import Trial


DEFAULTS: Params = {
    "trees": 200,
    "max_features": 0.2,
    "min_samples_leaf": 1,
    "max_depth": 16,
    "balance": "weights",
}


@dataclass(frozen=True)
class Forest:
    """scikit-learn's random forest."""

    estimator: Any
    classes: int

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes], not calibrated."""
        answer = np.zeros((len(features), self.classes))
        answer[:, self.estimator.classes_] = self.estimator.predict_proba(features)
        return answer

    def importance(self) -> NDArray[np.float64]:
        """Mean decrease of impurity, by column."""
        shares: NDArray[np.float64] = self.estimator.feature_importances_
        return shares

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""
        made = graph.Graph()
        share = graph.ensemble(made, self.trees(), "AVERAGE")  # the mean of the leaves' class shares
        return graph.finish(made, share, width, self.classes, temperature)

    def trees(self) -> graph.Trees:
        """Thresholds are rounded down to 32 bits: for a 32-bit x, `x <= t` then holds exactly when it held before."""
        parts = [member.tree_ for member in self.estimator.estimators_]
        threshold = np.concatenate([t.threshold for t in parts])
        rounded = threshold.astype(np.float32)
        above = rounded > threshold
        rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
        shares = np.concatenate([t.value[:, 0, :] for t in parts])
        values = np.zeros((len(shares), self.classes), np.float32)
        values[:, self.estimator.classes_] = shares / shares.sum(axis=1, keepdims=True)
        return graph.Trees(
            tree=np.repeat(np.arange(len(parts)), [t.node_count for t in parts]),
            node=np.concatenate([np.arange(t.node_count) for t in parts]),
            feature=np.concatenate([t.feature for t in parts]),
            threshold=rounded,
            left=np.concatenate([t.children_left for t in parts]),
            right=np.concatenate([t.children_right for t in parts]),
            values=values,
            or_equal=True,
        )


def suggest(trial: "Trial") -> Params:
    """The search space."""
    return {
        "max_features": trial.suggest_float("max_features", 0.05, 0.3, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 8, log=True),
        "max_depth": trial.suggest_int("max_depth", 4, 24),
        "balance": trial.suggest_categorical("balance", ["none", "weights"]),
    }


def fit(params: Params, rows: Part, seed: int) -> Forest:
    """Fit on the rows; the same rows, parameters and seed give the same model."""
    from sklearn.ensemble import RandomForestClassifier

    estimator = RandomForestClassifier(
        n_estimators=min(params["trees"], 60) if len(rows) < SMALL else params["trees"],
        max_features=params["max_features"],
        min_samples_leaf=params["min_samples_leaf"],
        max_depth=params["max_depth"],
        random_state=seed,
        n_jobs=1,
    )
    return Forest(estimator.fit(rows.features, rows.labels, sample_weight=sample_weights(params, rows)), rows.classes)
