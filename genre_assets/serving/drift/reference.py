"""What is normal: the champion's training rows, checked and made ready for the tests.

Nothing here knows a window. A reference that cannot be used raises `BadInput` with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]
NOT_FEATURES = frozenset(
    {"genre", "predicted", "recording", "key", "fingerprint", "group", "segment", "split", "start_s", "seconds"}
    | {"feature_set", "feature_set_version"}
)
PROBABILITY = "prob_"
MINIMUM_ROWS = 20
MAXIMUM_ROWS = 4000  # beyond this, more rows cost time and sharpen nothing


@dataclass(frozen=True)
class Reference:
    """The training rows, one genre and one recording each.

    Attributes
    ----------
    columns
        Names of the d features.
    labels
        Names of the model's c classes, in the order of its probabilities.
    values
        Feature rows, float32 [rows, d], all finite.
    genre
        Index into `labels` of each row's true genre, [rows].
    recording
        Index 0.. of each row's recording, [rows]. Rows of one recording are not independent.
    probabilities
        Out-of-fold probabilities of the model, float32 [rows, c].
    feature_set_version
        Version of the feature code that made the rows; empty if the table does not say.
    files
        SHA-256 of the files that the model was trained on; empty if the table does not say.
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    values: Floats
    genre: NDArray[np.intp]
    recording: NDArray[np.intp]
    probabilities: Floats
    feature_set_version: str = ""
    files: frozenset[str] = frozenset()

    @cached_property
    def genres(self) -> NDArray[np.intp]:
        """The genres that occur, ascending, [g]."""
        return np.unique(self.genre)

    @cached_property
    def sorted_values(self) -> Floats:
        """Each feature's values in ascending order, float32 [d, rows]."""
        return np.ascontiguousarray(np.sort(self.values, axis=0).T)

    @cached_property
    def scores(self) -> Floats:
        """`rank_scores` of the reference's own rows, float32 [rows, 2d]."""
        return rank_scores(self, self.values)

    @property
    def recordings(self) -> int:
        """How many recordings there are."""
        return int(self.recording.max()) + 1


def from_frame(frame: "pd.DataFrame") -> Reference:
    """Check a stored reference table and take it apart.

    Rows with a feature that is not finite are left out. Tables above `MAXIMUM_ROWS` are thinned to evenly spread rows.

    Raises
    ------
    BadInput
        When columns are missing, a genre has no probabilities, or fewer than `MINIMUM_ROWS` usable rows remain.
    """
    missing = {"genre", "recording"} - set(frame.columns)
    if missing:
        raise BadInput(f"the drift reference lacks the columns {sorted(missing)}: train again to write a new one")
    columns = tuple(c for c in frame.columns if c not in NOT_FEATURES and not c.startswith(PROBABILITY))
    labels = tuple(c.removeprefix(PROBABILITY) for c in frame.columns if c.startswith(PROBABILITY))
    unknown = sorted(set(frame["genre"]) - set(labels))
    if unknown:
        raise BadInput(f"the drift reference has genres without probabilities ({PROBABILITY}<genre>): {unknown}")
    values = frame[list(columns)].to_numpy(np.float32)
    usable = np.isfinite(values).all(axis=1)
    if not columns or usable.sum() < MINIMUM_ROWS:
        raise BadInput(f"the drift reference has {usable.sum()} usable rows and {len(columns)} features: too little")
    kept = np.flatnonzero(usable)
    if len(kept) > MAXIMUM_ROWS:
        kept = kept[np.linspace(0, len(kept) - 1, MAXIMUM_ROWS).astype(np.intp)]
    rows = frame.iloc[kept]
    versions = rows["feature_set_version"].astype(str).unique() if "feature_set_version" in rows else np.array([])
    return Reference(
        columns=columns,
        labels=labels,
        values=values[kept],
        genre=rows["genre"].map(labels.index).to_numpy(np.intp),
        recording=np.unique(rows["recording"].astype(str), return_inverse=True)[1].astype(np.intp),
        probabilities=_probabilities(rows, labels),
        feature_set_version=str(versions[0]) if len(versions) == 1 else "",
        files=frozenset(frame["fingerprint"].astype(str)) if "fingerprint" in frame else frozenset(),
    )


def _probabilities(rows: "pd.DataFrame", labels: Sequence[str]) -> Floats:
    probabilities = rows[[f"{PROBABILITY}{label}" for label in labels]].to_numpy(np.float32)
    if not np.isfinite(probabilities).all() or (probabilities.sum(axis=1) <= 0).any():
        raise BadInput(f"the drift reference has rows without out-of-fold probabilities ({PROBABILITY}<genre>)")
    return probabilities


def rank_scores(reference: Reference, values: Floats) -> Floats:
    """Two scores for each feature, that feel a shift and a change of spread, whatever the feature's distribution.

    With u in [0, 1] the rank among the reference's values (ties in the middle), the scores are the first two Legendre
    polynomials of 2u - 1: Neyman's smooth test (1937) of order two. Bounded, so that no outlier decides alone.

    Parameters
    ----------
    reference
        Gives the ranks.
    values
        Feature rows, float32 [n, d], all finite.

    Returns
    -------
    Scores, float32 [n, 2d]: shift scores of every feature, then spread scores.
    """
    ranks = np.empty(values.shape, np.float32)
    for column, ordered in enumerate(reference.sorted_values):
        below = ordered.searchsorted(values[:, column], "left")
        ranks[:, column] = (below + ordered.searchsorted(values[:, column], "right")) / (2 * len(ordered))
    shift = 2 * ranks - 1
    return np.concatenate([shift, 1.5 * shift**2 - 0.5], axis=1)
