"""Shadow scores: what the model that does not serve would have answered to a window's items.

Champion and fallback are so compared on the same items. The idle model is taken from the release that is live and run on
the logged feature rows (one segment of each item), in the drift run, never in the server.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genre_assets import keys
from genre_assets.errors import GenreError
from genre_assets.packaging import publish
from genre_assets.packaging.release import Release
from genre_assets.serving.drift import answers
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Cause, Finding, inconclusive
from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.reference import Floats
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.protocol import PREDICTOR, model_for

ITEMS = 64  # of a window, at most


class IdleModels:
    """The models of the newest release, fetched when first asked for."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._models: dict[int, Any] = {}
        self._release: Release | None = None

    def version(self, route: str) -> int | None:
        """The version that would serve the other route; None if the release has none."""
        return self._newest().roles.get("fallback" if route == "champion" else "champion")

    def labels(self) -> tuple[str, ...]:
        """The labels of the release's models, in the order of their probabilities."""
        return self._newest().spec.labels

    def probabilities(self, version: int, features: Floats) -> Floats:
        """Answers of a version to feature rows, float32 [n, d] -> [n, c]. Raises `GenreError` if it cannot."""
        if version not in self._models:
            self._models[version] = self._load(version)
        found: Floats = self._models[version].probabilities(features)
        return found

    def _newest(self) -> Release:
        if self._release is None:
            self._release = publish.newest(self._settings, self._store)
        return self._release

    def _load(self, version: int) -> Any:
        from genre_assets.models.onnx.portable import load_model

        release = self._newest()
        prefix = f"models/{model_for(PREDICTOR, release.contents)}/{version}/"
        with tempfile.TemporaryDirectory() as folder:
            for path in release.files:
                if path.startswith(prefix):
                    target = Path(folder) / path.removeprefix(prefix)
                    key = keys.release(release.id, path)
                    self._store.download_file(self._settings.serving_bucket, key, target)
            return load_model(Path(folder))


def score(
    idle: IdleModels, route: str, features: Floats, served: Floats, find: Callable[[int], Baseline | None]
) -> Finding:
    """The idle model on (a sample of) the same items: how often it agrees, and how accurate it is likely to be.

    Parameters
    ----------
    idle
        The models of the release.
    route
        What served the window.
    features
        Feature rows of the items, float32 [n, d].
    served
        Probabilities that were answered, float32 [n, n_classes]: the models of one release have the same labels.
    find
        Gives a version's reference, if there is one; without the idle model's own there is no estimate.
    """
    try:
        version = idle.version(route)
        if version is None:
            return inconclusive(Cause.NO_ANSWERS, "the release has one model only")
        sample = np.linspace(0, len(features) - 1, min(len(features), ITEMS)).astype(np.intp)
        probabilities = idle.probabilities(version, features[sample])
    except (GenreError, FileNotFoundError, ValueError) as problem:
        return inconclusive(Cause.NO_ANSWERS, f"the idle model cannot be asked: {problem}")
    agree = float((probabilities.argmax(axis=1) == served[sample].argmax(axis=1)).mean())
    values: dict[str, Any] = {"version": version, "items": len(sample), "agreement": round(agree, 4)}
    said = f"version {version}, idle, agrees on {agree:.0%} of {len(sample)} items"
    own = find(version)
    if own is not None:
        estimate, usual = answers.estimated_accuracy(own.reference, probabilities)
        values |= {"accuracy": round(estimate.value, 4), "low": round(estimate.low, 4), "high": round(estimate.high, 4)}
        said += f"; estimated accuracy {estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f}), usually {usual:.2f}"
    return Finding(Level.OK, said, values)
