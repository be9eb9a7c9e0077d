"""Regularised logistic regression of scikit-learn on columns that a power transform has brought near to normal.

It beats the trees where artists are new (see docs/model_quality.md): it cannot learn an artist's corner of the space.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.training import Part
from genre_assets.models.families.classifier import Floats, Params, sample_weights
from genre_assets.models.onnx import graph
from genre_assets.models.onnx.portable import INPUT

if TYPE_CHECKING:
    from onnx import ModelProto
    from optuna.trial import Trial

DEFAULTS: Params = {"C": 0.3, "shape": "power", "balance": "weights"}
EXPONENTS = np.arange(-0.95, 3.0, 0.1)
"""Of the Yeo-Johnson transform. 0 and 2, where it has another formula, are not among them."""
CLIP = 5.0
"""Standardised values are clipped here: beyond the training range a power can explode."""


@dataclass(frozen=True)
class Spec:
    """Logistic regression on columns that are centred, scaled, bent by a power transform, standardised and clipped."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    exponents: NDArray[np.float64] | None
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    clip: float
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """The estimator behind its transform."""

    estimator: Any
    spec: Spec

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes], not calibrated."""
        answer = np.zeros((len(features), len(self.spec.bias)))
        answer[:, self.estimator.classes_] = self.estimator.predict_proba(_placed(features, self.spec))
        return answer

    def importance(self) -> NDArray[np.float64]:
        """Root mean square of the weights over the genres, by column."""
        size = np.sqrt((self.estimator.coef_**2).mean(axis=0))
        shares: NDArray[np.float64] = size / max(size.sum(), 1e-12)
        return shares

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""
        return _graph(self.spec, width, temperature)


def suggest(trial: "Trial") -> Params:
    """The search space."""
    return {
        "C": trial.suggest_float("C", 0.01, 10.0, log=True),
        "shape": trial.suggest_categorical("shape", ["power", "scaled"]),
        "balance": trial.suggest_categorical("balance", ["none", "weights"]),
    }


def fit(params: Params, rows: Part, seed: int) -> Linear:
    """Fit on the rows; the same rows, parameters and seed give the same model."""
    from sklearn.linear_model import LogisticRegression

    spec = _transform(rows.features.astype(np.float64), params["shape"], rows.classes)
    estimator = LogisticRegression(C=params["C"], max_iter=1000, tol=1e-3, random_state=seed)
    estimator.fit(_placed(rows.features, spec), rows.labels, sample_weight=sample_weights(params, rows))
    return Linear(estimator, _with_weights(spec, estimator))


def power(values: NDArray[np.float64], exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yeo-Johnson, column by column (I.-K. Yeo, R. A. Johnson, Biometrika 87, 2000); exponents must not be 0 or 2."""
    above = ((np.maximum(values, 0) + 1) ** exponents - 1) / exponents
    below = -((1 - np.minimum(values, 0)) ** (2 - exponents) - 1) / (2 - exponents)
    return np.where(values >= 0, above, below)


def likeliest_exponents(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each column the one of `EXPONENTS` under which its values look most like a normal sample."""
    slope = (np.sign(values) * np.log1p(np.abs(values))).mean(axis=0)
    scores = np.empty((len(EXPONENTS), values.shape[1]))
    for i, exponent in enumerate(EXPONENTS):
        variance = power(values, np.full(values.shape[1], exponent)).var(axis=0)
        scores[i] = (exponent - 1) * slope - 0.5 * np.log(np.maximum(variance, 1e-12))
    best: NDArray[np.float64] = EXPONENTS[scores.argmax(axis=0)]
    return best


def _transform(features: NDArray[np.float64], shape: str, classes: int) -> Spec:
    from sklearn.preprocessing import RobustScaler

    scaler = RobustScaler().fit(features)
    scaled = scaler.transform(features)
    exponents = likeliest_exponents(scaled) if shape == "power" else None
    shaped = scaled if exponents is None else power(scaled, exponents)
    deviation = shaped.std(axis=0)
    return Spec(
        centre=scaler.center_,
        scale=scaler.scale_,
        exponents=exponents,
        mean=shaped.mean(axis=0),
        deviation=np.where(deviation > 0, deviation, 1.0),
        clip=CLIP,
        weights=np.zeros((features.shape[1], classes)),
        bias=np.zeros(classes),
    )


def _placed(features: Floats, spec: Spec) -> NDArray[np.float64]:
    scaled = (features.astype(np.float64) - spec.centre) / spec.scale
    shaped = scaled if spec.exponents is None else power(scaled, spec.exponents)
    placed: NDArray[np.float64] = np.clip((shaped - spec.mean) / spec.deviation, -spec.clip, spec.clip)
    return placed


def _with_weights(spec: Spec, estimator: Any) -> Spec:
    """Genres that training never saw get a bias that no row overcomes. Two classes: one row of weights stands for both."""
    rows, bias = estimator.coef_, estimator.intercept_
    if len(estimator.classes_) == 2:
        rows, bias = np.vstack([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    weights, biases = np.zeros_like(spec.weights), np.full(len(spec.bias), -1e4)
    weights[:, estimator.classes_] = rows.T
    biases[estimator.classes_] = bias
    return replace(spec, weights=weights, bias=biases)


def _graph(model: Spec, width: int, temperature: float) -> "ModelProto":
    """Logistic regression, in 64 bits up to the shares."""
    g = graph.Graph()
    rows = g.add("Sub", g.add("Cast", INPUT, to=11), g.constant(model.centre, float))
    rows = g.add("Div", rows, g.constant(model.scale, float))
    if model.exponents is not None:
        rows = _power_nodes(g, rows, model.exponents)
    rows = g.add("Div", g.add("Sub", rows, g.constant(model.mean, float)), g.constant(model.deviation, float))
    rows = g.add("Clip", rows, g.constant(-model.clip, float), g.constant(model.clip, float))
    logits = g.add("Add", g.add("MatMul", rows, g.constant(model.weights, float)), g.constant(model.bias, float))
    share = g.add("Cast", g.add("Softmax", logits, axis=1), to=1)
    return graph.finish(g, share, width, model.weights.shape[1], temperature)


def _power_nodes(g: graph.Graph, rows: str, exponents: NDArray[np.float64]) -> str:
    """Yeo-Johnson: each sign has its own power; both are taken of safe values, and one is kept."""
    zero, one = g.constant(0.0, float), g.constant(1.0, float)
    sides = []
    for sign, exponent in ((1.0, exponents), (-1.0, 2 - exponents)):
        size = g.add("Add", g.add("Max", g.add("Mul", rows, g.constant(sign, float)), zero), one)
        raised = g.add("Sub", g.add("Pow", size, g.constant(exponent, float)), one)
        sides.append(g.add("Div", raised, g.constant(sign * exponent, float)))
    return g.add("Where", g.add("GreaterOrEqual", rows, zero), *sides)
