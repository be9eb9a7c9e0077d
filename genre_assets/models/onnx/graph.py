"""The builder of ONNX graphs, which each family writes straight from its fitted estimator's own numbers.

A generic converter is not used: it rounds the 64-bit thresholds of scikit-learn's trees, and follows new releases of
XGBoost late (see docs/decisions). Every graph ends in temperature scaling and has the signature that
`models/onnx/portable.py` fixes. Pinned to opset 17 and IR 9, which onnxruntime 1.16 and later load.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.onnx.portable import INPUT, OUTPUT

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


class Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: Any, dtype: Any) -> str:
        """Add a constant; returns its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        from onnx import helper

        output = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output


def temper(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """What the end of the graph does: softmax(log(max(p, floor)) / temperature), over the last axis."""
    powered = np.maximum(probabilities.astype(np.float64), FLOOR) ** (1 / temperature)
    scaled: NDArray[np.float64] = powered / powered.sum(axis=-1, keepdims=True)
    return scaled


def finish(graph: Graph, share: str, width: int, outputs: int, temperature: float) -> "ModelProto":
    """The model whose class shares are `share`: they are tempered, and the signature is the common one."""
    floored = graph.add("Max", share, graph.constant(FLOOR, np.float32))
    scaled = graph.add("Mul", graph.add("Log", floored), graph.constant(1 / temperature, np.float32))
    graph.add("Softmax", scaled, name=OUTPUT, axis=1)
    return _model(graph, width, outputs)


def ensemble(graph: Graph, trees: Trees, aggregate: str) -> str:
    """One node for all trees; `aggregate` is SUM or AVERAGE of the leaves."""
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


def _model(graph: Graph, width: int, outputs: int) -> "ModelProto":
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
