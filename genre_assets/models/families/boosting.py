"""Gradient boosting of XGBoost."""

import json
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
    "rounds": 60,
    "learning_rate": 0.2,
    "max_depth": 4,
    "min_child_weight": 0.5,
    "subsample": 0.8,
    "colsample_bynode": 0.3,
    "reg_lambda": 1.0,
    "balance": "weights",
}


@dataclass(frozen=True)
class Boosted:
    """An XGBoost booster with the softmax objective over all genres."""

    booster: Any
    width: int
    classes: int

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes], not calibrated."""
        answer = self.booster.inplace_predict(np.ascontiguousarray(features, dtype=np.float32))
        return np.asarray(answer, dtype=np.float64)

    def importance(self) -> NDArray[np.float64]:
        """Total gain, by column."""
        gains = np.zeros(self.width)
        for name, gain in self.booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
        shares: NDArray[np.float64] = gains / max(gains.sum(), 1e-12)
        return shares

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""
        made = graph.Graph()
        share = made.add("Softmax", graph.ensemble(made, self.trees(), "SUM"), axis=1)
        return graph.finish(made, share, width, self.classes, temperature)

    def trees(self) -> graph.Trees:
        """From the booster's own JSON; thresholds are 32-bit there already, and equal base scores cancel out."""
        model = json.loads(bytes(self.booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
        trees, of_class = model["trees"], np.array(model["tree_info"])
        sizes = [len(t["left_children"]) for t in trees]

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([np.asarray(t[name]) for t in trees])

        left = joined("left_children").astype(np.int64)
        condition = joined("split_conditions").astype(np.float32)
        values = np.zeros((len(left), self.classes), np.float32)
        values[np.arange(len(left)), np.repeat(of_class, sizes)] = condition
        return graph.Trees(
            tree=np.repeat(np.arange(len(trees)), sizes),
            node=np.concatenate([np.arange(n) for n in sizes]),
            feature=np.where(left < 0, -1, joined("split_indices")).astype(np.int64),
            threshold=condition,
            left=left,
            right=joined("right_children").astype(np.int64),
            values=values,
            or_equal=False,
        )


def suggest(trial: "Trial") -> Params:
    """The search space."""
    return {
        "rounds": trial.suggest_int("rounds", 30, 90, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.4, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 5),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.1, 5.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bynode": trial.suggest_float("colsample_bynode", 0.1, 0.6, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 20.0, log=True),
        "balance": trial.suggest_categorical("balance", ["none", "weights"]),
    }


def fit(params: Params, rows: Part, seed: int) -> Boosted:
    """Fit on the rows; the same rows, parameters and seed give the same model."""
    import xgboost

    data = xgboost.QuantileDMatrix(
        rows.features, label=rows.labels, weight=sample_weights(params, rows), max_bin=32, nthread=1
    )
    chosen = {name: params[name] for name in params if name not in {"rounds", "balance"}}
    fixed = {
        "objective": "multi:softprob",
        "num_class": rows.classes,
        "base_score": 0.5,
        "tree_method": "hist",
        "max_bin": 32,
        "nthread": 1,
        "seed": seed,
    }
    rounds = params["rounds"] if len(rows) >= SMALL else min(params["rounds"], 60)
    booster = xgboost.train({**chosen, **fixed}, data, num_boost_round=rounds)
    return Boosted(booster, rows.features.shape[1], rows.classes)
