"""The vote: the mean of all families' probabilities as one more model. Nothing is tuned, so nothing can be overfitted.

Its members err differently, and their mean is better than each of them where there is enough data (see
docs/model_quality.md). It is made from the members' registered graphs and their out-of-fold answers: seconds, not
minutes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.split import TRAIN
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.classifier import Floats
from genre_assets.models.onnx import graph
from genre_assets.models.onnx.portable import INPUT, MODEL_FILE, OUTPUT, PortableModel, load_model
from genre_assets.models.tuning import fit, tune

if TYPE_CHECKING:
    import pandas as pd
    from onnx import ModelProto

NAME = "vote"
VERSION = "1"


@dataclass(frozen=True)
class Vote:
    """The mean of loaded models."""

    models: Sequence[PortableModel]
    graphs: "Sequence[ModelProto]"

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes]."""
        rows = np.asarray(features, dtype=np.float32)
        mean: NDArray[np.float64] = np.mean([m.probabilities(rows) for m in self.models], axis=0, dtype=np.float64)
        return mean

    def importance(self) -> None:
        """See the members'."""
        return

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """One graph of all members."""
        return _mean_of(self.graphs, width, len(self.models[0].manifest.labels), temperature)


def build(
    members: Sequence[Path], references: "Sequence[pd.DataFrame]", training: TrainingSet, *, seed: int
) -> fit.Trained:
    """The vote of the models in these folders; `references` are their training rows with out-of-fold answers."""
    import onnx

    models = [load_model(folder) for folder in members]
    vote = Vote(models, [onnx.load(folder / MODEL_FILE) for folder in members])
    raw = np.mean([_answers(frame, training) for frame in references], axis=0)
    names = ",".join(m.manifest.family for m in models)
    found = tune.Search(NAME, {"members": names}, 0.0, [], 0, 0.0)
    return fit.finish(NAME, found, vote, raw, training, seed=seed)


def _answers(reference: "pd.DataFrame", training: TrainingSet) -> NDArray[np.float64]:
    """A member's out-of-fold answers, in the order of the training rows."""
    rows = training.frame.loc[training.frame["split"] == TRAIN, ["key", "segment"]]
    if not (
        reference["key"].tolist() == rows["key"].tolist() and (reference["segment"].to_numpy() == rows["segment"]).all()
    ):
        raise ValueError("the member was trained on other rows")
    answers: NDArray[np.float64] = reference[[f"prob_{genre}" for genre in training.manifest.genres]].to_numpy(
        np.float64
    )
    return answers


def _mean_of(models: "Sequence[ModelProto]", width: int, outputs: int, temperature: float) -> "ModelProto":
    """The mean of several models' probabilities, as one graph."""
    g = graph.Graph()
    for i, model in enumerate(models):
        _absorb(g, model, f"m{i}_")
    share = g.add("Mean", *(f"m{i}_{OUTPUT}" for i in range(len(models))), name="mean")
    return graph.finish(g, share, width, outputs, temperature)


def _absorb(g: graph.Graph, model: "ModelProto", prefix: str) -> None:
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
