"""A trained model as a folder that any Python with numpy and onnxruntime can load: `model.onnx` and `manifest.json`.

The Triton models import this module, so nothing else may be imported here (no pandas, scikit-learn, MLflow, Dagster)
and it must run with numpy 1.26. Every family has the same signature: input `features` float32 [n, d], output
`probabilities` float32 [n, n_classes]. Writing such folders is the business of `onnx/graph.py` and of each family.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.decoding.cut import Cut
from genre_assets.errors import BadInput, PermanentFailure

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
INPUT = "features"
OUTPUT = "probabilities"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ModelManifest:
    """What a model is, what it was trained on, and what it needs. Everything a server must know before it answers.

    Attributes
    ----------
    family : xgboost | random_forest | k_neighbors.
    version : number in the model registry; None until it is registered.
    labels : the genres, in the order of the probabilities.
    feature_set, feature_set_version : whose extractor makes the rows.
    cut : how clips are cut into the segments that are rows; None in manifests of before November 2026.
    columns : names of the features, in the order of the input.
    data_version : content hash of the training set.
    run_id : the MLflow run that made the model.
    created : UTC, ISO 8601.
    hashes : file name -> sha256 of the files beside this manifest.
    libraries : name -> version of what the model was trained and exported with.
    """

    family: str
    labels: tuple[str, ...]
    feature_set: str
    feature_set_version: str
    columns: tuple[str, ...]
    data_version: str
    run_id: str
    created: str
    version: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    cut: Cut | None = None

    @property
    def known_cut(self) -> Cut:
        """The cut. Raises `BadInput` for a model that does not say it: nobody may guess it from today's settings."""
        if self.cut is None:
            raise BadInput(
                f"model version {self.version} ({self.family}) does not say how its clips were cut: it was trained by an "
                "older release of the platform. Run the job retrain"
            )
        return self.cut

    def differs(self, other: "ModelManifest") -> list[str]:
        """In what the two ask for other rows or give other answers: one ensemble cannot serve both. Empty if in nothing."""
        names = ("labels", "feature_set", "feature_set_version", "columns", "cut")
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelManifest":
        """Parse; unknown keys are left out (a newer writer may add some). Raises `BadInput` when one is missing."""
        try:
            values: dict[str, Any] = json.loads(text)
            known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
            if known.get("cut"):
                known["cut"] = Cut(**known["cut"])
            manifest = cls(**{**known, "labels": tuple(values["labels"]), "columns": tuple(values["columns"])})
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"this is not the manifest of a model: {error}") from error
        return manifest

    def to_json(self) -> str:
        """Indented JSON with sorted keys: the same manifest is the same text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


class PortableModel:
    """A loaded model; `load_model` makes it. Safe to call from several threads.

    Parameters
    ----------
    manifest : ModelManifest
        What the model is: family, version, columns, labels, how clips were cut.
    session : onnxruntime.InferenceSession
        The graph, ready to run.
    """

    def __init__(self, manifest: ModelManifest, session: "InferenceSession") -> None:
        self.manifest = manifest
        self._session = session

    def probabilities(self, features: Floats) -> Floats:
        """Predict the probability of each label.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
            Rows in the manifest's column order.

        Returns
        -------
        ndarray of float32, shape (n, g)
            In the manifest's label order. A row with NaN or infinity (an item that could not be decoded) gives a row of
            NaN, never a guess.

        Raises
        ------
        BadInput
            When the width is not the manifest's.
        """
        rows = np.ascontiguousarray(features, dtype=np.float32)
        width = len(self.manifest.columns)
        if rows.ndim != 2 or rows.shape[1] != width:
            raise BadInput(f"the model takes rows of {width} features, not an array of shape {rows.shape}")
        answer = np.full((len(rows), len(self.manifest.labels)), np.nan, dtype=np.float32)
        usable = np.isfinite(rows).all(axis=1)
        if usable.any():
            answer[usable] = self._session.run([OUTPUT], {INPUT: rows[usable]})[0]
        return answer


def load_model(folder: Path, *, threads: int = 1) -> PortableModel:
    """Load a model, after checking it against its manifest.

    Parameters
    ----------
    folder : Path
        A registered model's artifact `model`, or a version's folder of the predictor in a release.
    threads : int
        Threads that one call uses.

    Returns
    -------
    PortableModel
        The model with its manifest.

    Raises
    ------
    BadInput
        When the folder holds no model.
    PermanentFailure
        When a file is not the one that was written, or the graph does not have the signature that the manifest claims.
    """
    # Since 1.29 the runtime tells its maker what it runs, and keeps a number of the machine in the home folder, unless this
    # is said before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    manifest = read_manifest(folder)
    for name, expected in manifest.hashes.items():
        if sha256(folder / name) != expected:
            raise PermanentFailure(
                f"{folder / name} is not the file that its manifest describes; fetch the model again"
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])
    _check_signature(session, manifest, folder)
    return PortableModel(manifest, session)


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest alone. Raises `BadInput` when the folder holds no model."""
    missing = [name for name in (MODEL_FILE, MANIFEST_FILE) if not (folder / name).is_file()]
    if missing:
        raise BadInput(f"{folder} holds no model: {' and '.join(missing)} missing")
    return ModelManifest.from_json((folder / MANIFEST_FILE).read_bytes())


def set_version(folder: Path, version: int) -> None:
    """Write the registry's number into the manifest of a downloaded model."""
    path = folder / MANIFEST_FILE
    path.write_text(replace(ModelManifest.from_json(path.read_bytes()), version=version).to_json())


def vote(probabilities: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Song-level answer: the mean of the segments' probabilities.

    Parameters
    ----------
    probabilities : float32 [n, K, n_classes]; what stands in segments that are masked out does not matter.
    mask : bool [n, K], true where the item has that segment.

    Returns
    -------
    float32 [n, n_classes]; a row of NaN for an item without segments.
    """
    counted = np.where(mask[:, :, None], probabilities, np.float32(0)).sum(axis=1, dtype=np.float64)
    segments = mask.sum(axis=1, dtype=np.float64)
    segments[segments == 0] = np.nan
    mean: Floats = (counted / segments[:, None]).astype(np.float32)
    return mean


def sha256(path: Path) -> str:
    """Hex digest of a file; of nothing, if it is missing."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def _check_signature(session: "InferenceSession", manifest: ModelManifest, folder: Path) -> None:
    inputs = {i.name: (i.type, i.shape[-1]) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape[-1]) for o in session.get_outputs()}
    wanted_in = {INPUT: ("tensor(float)", len(manifest.columns))}
    wanted_out = {OUTPUT: ("tensor(float)", len(manifest.labels))}
    if inputs != wanted_in or outputs != wanted_out:
        raise PermanentFailure(
            f"{folder / MODEL_FILE} takes {inputs} and gives {outputs}; its manifest says {wanted_in} and {wanted_out}"
        )
