"""What every family has in common: the protocol of a fitted model, and how a family describes itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genre_assets.models.data.training import Part

if TYPE_CHECKING:
    from onnx import ModelProto
    from optuna.trial import Trial

Params = Mapping[str, Any]
Floats = NDArray[np.floating[Any]]
SMALL = 500
"""Rows below which fewer trees and rounds are grown: more cannot be told apart there."""


class Classifier(Protocol):
    """A fitted model. It answers for all classes, in label order; one that training never saw gets (nearly) nothing."""

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Features [n, d] -> probabilities [n, n_classes], not calibrated."""

    def to_onnx(self, width: int, temperature: float) -> "ModelProto":
        """The graph of the same model, calibrated by `temperature`."""

    def importance(self) -> NDArray[np.float64] | None:
        """The share of each column [d], where the family has such a thing."""


@dataclass(frozen=True)
class Family:
    """One family. `version` changes with the search space or the fit: old studies are then not taken up again.

    `fit` is deterministic for a seed and uses one thread: trials are what runs in parallel. `while_searching` stands in
    for values of the parameters inside the trials: fewer trees rank the same as many, in a quarter of the time. `trials`
    is how many a study has in all where no setting `trials_<name>` says so.
    """

    name: str
    version: str
    defaults: Params
    suggest: Callable[["Trial"], Params]
    fit: Callable[[Params, Part, int], Classifier]
    while_searching: Params = field(default_factory=dict)
    trials: int = 20


def sample_weights(params: Params, rows: Part) -> NDArray[np.float64] | None:
    """A weight for each row when `balance` is "weights", so that every class weighs the same in sum; mean 1."""
    if params["balance"] != "weights":
        return None
    counts = np.bincount(rows.labels)
    weights: NDArray[np.float64] = len(rows) / (np.count_nonzero(counts) * counts[rows.labels])
    return weights
