"""What `mlflow.onnx` would cost and give where `models/mlflow/mlmodel.py` describes a model folder for MLflow (decision 37).

Both describe the same model of the linear family, each in processes of its own that hold what the training process holds by
then (MLflow's client, onnx, onnxruntime); `mlflow.onnx` is told the requirements, or it would start a process to find them.
Both are then loaded by `mlflow.pyfunc`, and copies of the model with one byte changed by both loaders.

Run alone: python -m benchmarks.run models_mlflow_onnx
"""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Result, figure
from genre_assets.errors import GenreError
from genre_assets.models.data.split import TRAIN
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.onnx.portable import MANIFEST_FILE, MODEL_FILE, ModelManifest, load_model, sha256
from genre_assets_tests.models.conftest import synthetic_training_set

REPEATS = 5
CHANGED = 50  # copies of the model, each with another byte changed
CHILD = """
import json, resource, sys
from pathlib import Path
import numpy, onnx, onnxruntime
from mlflow import MlflowClient
from genre_assets.models.onnx.portable import read_manifest
model, target = Path(sys.argv[2]), Path(sys.argv[3])
manifest = read_manifest(model)

def cpu():
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))

def ours():
    import shutil
    from genre_assets.models.mlflow import mlmodel
    shutil.copytree(model, target)
    mlmodel.describe(target, manifest)

def theirs():
    import mlflow.onnx, shutil
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec
    floats = numpy.dtype(numpy.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(floats, (-1, len(manifest.columns)), "features")]),
        outputs=Schema([TensorSpec(floats, (-1, len(manifest.labels)), "probabilities")]),
    )
    mlflow.onnx.save_model(
        onnx.load(model / "model.onnx"), target, signature=signature, save_as_external_data=False,
        pip_requirements=["mlflow", *(f"{n}=={manifest.libraries[n]}" for n in ("numpy", "onnx", "onnxruntime"))],
        onnx_execution_providers=["CPUExecutionProvider"],
    )
    shutil.copy(model / "manifest.json", target)

def memory():  # MiB that are resident; the peak that the kernel counts is the parent's at first
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024

began, before = cpu(), memory()
{"ours": ours, "theirs": theirs}[sys.argv[1]]()
print(json.dumps({"cpu": cpu() - began, "memory": memory() - before}))
"""


def made(folder: Path) -> Path:
    """A model and its manifest, as training writes them."""
    training = synthetic_training_set(8)
    family = FAMILIES["linear"]
    classifier = family.fit(family.defaults, training.part(TRAIN), 1)
    folder.mkdir()
    graph = classifier.to_onnx(len(training.manifest.columns), 1.0)
    (folder / MODEL_FILE).write_bytes(graph.SerializeToString())
    _write_manifest(folder, training.manifest.columns, training.manifest.genres)
    return folder


def _write_manifest(folder: Path, columns: tuple[str, ...], labels: tuple[str, ...]) -> None:
    manifest = ModelManifest(
        "linear", labels, "gtzan37", "test", columns, "test", "0" * 32, "2026-11-30T00:00:00+00:00",
        hashes={MODEL_FILE: sha256(folder / MODEL_FILE)},
        libraries={name: importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime")},
    )  # fmt: skip
    (folder / MANIFEST_FILE).write_text(manifest.to_json())


def described(who: str, model: Path, target: Path) -> dict[str, float]:
    """Describe the model in a fresh process; returns what it took beyond what was there: CPU seconds and MiB."""
    shutil.rmtree(target, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, who, str(model), str(target)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def answers(folder: Path, rows: "np.ndarray[Any, np.dtype[np.float32]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
    """What `mlflow.pyfunc` answers with the folder."""
    import mlflow.pyfunc

    return np.asarray(mlflow.pyfunc.load_model(str(folder)).predict({"features": rows})["probabilities"])


def refused(model: Path, folder: Path) -> tuple[float, float]:
    """The shares of copies with one byte changed that our loader refuses, and that `mlflow.onnx` does."""
    import mlflow.onnx

    random = np.random.default_rng(0)
    data = (model / MODEL_FILE).read_bytes()
    by = [0, 0]
    for place in random.choice(len(data), CHANGED, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << int(random.integers(8))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(model, folder)
        (folder / MODEL_FILE).write_bytes(changed)
        try:
            load_model(folder)
        except GenreError:
            by[0] += 1
        try:
            mlflow.onnx.load_model(str(folder))
        except Exception:  # noqa: BLE001  # of protobuf, onnx or MLflow, as it comes
            by[1] += 1
    return by[0] / CHANGED, by[1] / CHANGED


def run() -> list[Result]:
    """CPU and memory of both, whether they give the same answers, and what each refuses to load."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        model = made(root / "model")
        took: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
        for _ in range(REPEATS):
            for who, runs in took.items():
                runs.append(described(who, model, root / who))
        median = {
            who: {what: float(np.median([one[what] for one in runs])) for what in runs[0]} for who, runs in took.items()
        }
        rows = synthetic_training_set(4, seed=5).part(TRAIN).features
        gap = float(np.abs(answers(root / "ours", rows) - answers(root / "theirs", rows)).max())
        ours, theirs = refused(root / "ours", root / "changed")
    ratio = median["theirs"]["cpu"] / median["ours"]["cpu"]
    return [
        figure("models: CPU to describe a model by mlflow.onnx over ours", ratio, "x"),
        figure("models: CPU to describe a model by mlflow.onnx", median["theirs"]["cpu"], "s"),
        figure("models: memory that describing by mlflow.onnx adds", median["theirs"]["memory"], "MiB"),
        figure("models: memory that our description adds", median["ours"]["memory"], "MiB"),
        figure("models: answers through MLflow, ours against mlflow.onnx", gap, "difference", bar="0", holds=gap == 0),
        figure("models: models with a changed byte that are refused, ours", ours, "share", bar="1", holds=ours == 1),
        figure("models: models with a changed byte that are refused, mlflow.onnx", theirs, "share"),
    ]


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
