"""Writes the ONNX graph of each family, straight from the fitted estimator's own numbers.

A generic converter is not used: it rounds the 64-bit thresholds of scikit-learn's trees, and follows new releases of
XGBoost late (see docs/decisions). Every graph ends in temperature scaling and has the signature that
`models/portable.py` fixes. Pinned to opset 17 and IR 9, which onnxruntime 1.16 and later load.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.portable import INPUT, OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OPSET, ML_OPSET, IR_VERSION = 17, 3, 9
FLOOR = 1e-3
"""Probabilities are floored here before their logarithm is taken: votes of trees and neighbours can be exactly 0."""


@dataclass(frozen=True)
class Trees:
    """An ensemble of binary trees as flat arrays, one entry a node.

    A row goes left where `x[feature] < threshold` (`or_equal`: `<=`). Leaves have a negative `feature` and give their
    `values` [nodes, outputs].
    """

    tree: NDArray[np.int64]
    node: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    values: NDArray[np.float32]
    or_equal: bool


@dataclass(frozen=True)
class Neighbours:
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
class Linear:
    """Logistic regression on columns that are centred, scaled, bent by a power transform, standardised and clipped."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    exponents: NDArray[np.float64] | None
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    clip: float
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


class _Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: Any, dtype: Any) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output


def forest(trees: Trees, width: int, temperature: float) -> "ModelProto":
    """Random forest: the mean of the leaves' class shares, then temperature."""
    graph = _Graph()
    return _finish(graph, _ensemble(graph, trees, "AVERAGE"), width, trees.values.shape[1], temperature)


def boosted(trees: Trees, width: int, temperature: float) -> "ModelProto":
    """Gradient boosting: the softmax of the summed leaves, then temperature."""
    graph = _Graph()
    share = graph.add("Softmax", _ensemble(graph, trees, "SUM"), axis=1)
    return _finish(graph, share, width, trees.values.shape[1], temperature)


def nearest(model: Neighbours, width: int, outputs: int, temperature: float) -> "ModelProto":
    """Nearest neighbours, in 64 bits up to the votes (distances that are nearly equal must sort as in the estimator)."""
    g = _Graph()
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
    return _finish(g, share, width, outputs, temperature)


def linear(model: Linear, width: int, temperature: float) -> "ModelProto":
    """Logistic regression, in 64 bits up to the shares."""
    g = _Graph()
    rows = g.add("Sub", g.add("Cast", INPUT, to=11), g.constant(model.centre, float))
    rows = g.add("Div", rows, g.constant(model.scale, float))
    if model.exponents is not None:
        rows = _power(g, rows, model.exponents)
    rows = g.add("Div", g.add("Sub", rows, g.constant(model.mean, float)), g.constant(model.deviation, float))
    rows = g.add("Clip", rows, g.constant(-model.clip, float), g.constant(model.clip, float))
    logits = g.add("Add", g.add("MatMul", rows, g.constant(model.weights, float)), g.constant(model.bias, float))
    share = g.add("Cast", g.add("Softmax", logits, axis=1), to=1)
    return _finish(g, share, width, model.weights.shape[1], temperature)


def mean_of(models: "Sequence[ModelProto]", width: int, outputs: int, temperature: float) -> "ModelProto":
    """The mean of several models' probabilities, as one graph."""
    g = _Graph()
    for i, model in enumerate(models):
        _absorb(g, model, f"m{i}_")
    share = g.add("Mean", *(f"m{i}_{OUTPUT}" for i in range(len(models))), name="mean")
    return _finish(g, share, width, outputs, temperature)


def temper(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """What the end of the graph does: softmax(log(max(p, floor)) / temperature), over the last axis."""
    powered = np.maximum(probabilities.astype(np.float64), FLOOR) ** (1 / temperature)
    scaled: NDArray[np.float64] = powered / powered.sum(axis=-1, keepdims=True)
    return scaled


def _finish(graph: _Graph, share: str, width: int, outputs: int, temperature: float) -> "ModelProto":
    floored = graph.add("Max", share, graph.constant(FLOOR, np.float32))
    scaled = graph.add("Mul", graph.add("Log", floored), graph.constant(1 / temperature, np.float32))
    graph.add("Softmax", scaled, name=OUTPUT, axis=1)
    return _model(graph, width, outputs)


def _power(g: _Graph, rows: str, exponents: NDArray[np.float64]) -> str:
    """Yeo-Johnson: each sign has its own power; both are taken of safe values, and one is kept."""
    zero, one = g.constant(0.0, float), g.constant(1.0, float)
    sides = []
    for sign, exponent in ((1.0, exponents), (-1.0, 2 - exponents)):
        size = g.add("Add", g.add("Max", g.add("Mul", rows, g.constant(sign, float)), zero), one)
        raised = g.add("Sub", g.add("Pow", size, g.constant(exponent, float)), one)
        sides.append(g.add("Div", raised, g.constant(sign * exponent, float)))
    return g.add("Where", g.add("GreaterOrEqual", rows, zero), *sides)


def _euclidean(g: _Graph, rows: str, reference: NDArray[np.float64]) -> str:
    """By |a|² + |b|² - 2ab in 64 bits: no [n, m, p] array."""
    own = g.add("ReduceSumSquare", rows, axes=[1], keepdims=1)
    cross = g.add("MatMul", rows, g.constant(-2 * reference.T, float))
    squared = g.add("Add", g.add("Add", cross, own), g.constant((reference**2).sum(axis=1)[None], float))
    return g.add("Sqrt", g.add("Max", squared, g.constant(0.0, float)))


def _cityblock(g: _Graph, rows: str, reference: NDArray[np.float64]) -> str:
    spread = g.add("Sub", g.add("Unsqueeze", rows, g.constant([1], np.int64)), g.constant(reference[None], float))
    return g.add("ReduceSum", g.add("Abs", spread), g.constant([2], np.int64), keepdims=0)


def _top_k(distance: str, k: str) -> "NodeProto":
    from onnx import helper

    return helper.make_node("TopK", [distance, k], ["nearest_distance", "nearest"], axis=1, largest=0, sorted=1)


def _ensemble(graph: _Graph, trees: Trees, aggregate: str) -> str:
    from onnx import helper

    leaf = trees.feature < 0
    at, output = np.nonzero(trees.values * leaf[:, None])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["summed"],
        domain="ai.onnx.ml",
        n_targets=trees.values.shape[1],
        aggregate_function=aggregate,
        post_transform="NONE",
        nodes_treeids=trees.tree.tolist(),
        nodes_nodeids=trees.node.tolist(),
        nodes_featureids=np.maximum(trees.feature, 0).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ" if trees.or_equal else "BRANCH_LT").tolist(),
        nodes_values=trees.threshold.tolist(),
        nodes_truenodeids=np.maximum(trees.left, 0).tolist(),
        nodes_falsenodeids=np.maximum(trees.right, 0).tolist(),
        target_treeids=trees.tree[at].tolist(),
        target_nodeids=trees.node[at].tolist(),
        target_ids=output.tolist(),
        target_weights=trees.values[at, output].tolist(),
    )
    graph.nodes.append(node)
    return "summed"


def _absorb(g: _Graph, model: "ModelProto", prefix: str) -> None:
    """Take over a model's nodes and constants under prefixed names; its input stays the common one."""

    def renamed(names: Iterable[str]) -> list[str]:
        return [name if name == INPUT else prefix + name for name in names]

    for node in model.graph.node:
        taken = type(node)()
        taken.CopyFrom(node)
        taken.input[:], taken.output[:] = renamed(node.input), renamed(node.output)
        g.nodes.append(taken)
    for constant in model.graph.initializer:
        kept = type(constant)()
        kept.CopyFrom(constant)
        kept.name = prefix + constant.name
        g.constants.append(kept)


def _model(graph: _Graph, width: int, outputs: int) -> "ModelProto":
    from onnx import TensorProto, checker, helper

    made = helper.make_graph(
        graph.nodes,
        "genre_classifier",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, outputs])],
        initializer=graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="genre_assets")
    checker.check_model(model)
    return model
