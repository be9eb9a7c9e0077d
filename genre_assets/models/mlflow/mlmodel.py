"""MLflow's own description of a model folder: signature and environment, so that any MLflow client can load it.

Written with MLflow's `Model` alone, without `mlflow.onnx.save_model` (decision 37).
"""

import json
import platform
from pathlib import Path

from genre_assets.models.onnx.portable import INPUT, MODEL_FILE, OUTPUT, ModelManifest

REQUIREMENTS = "requirements.txt"
PYTHON_ENVIRONMENT = "python_env.yaml"


def describe(folder: Path, manifest: ModelManifest) -> None:
    """Write `MLmodel` and the environment beside the model: `mlflow.pyfunc.load_model` then works on the folder."""
    import numpy as np
    from mlflow.models.model import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec

    floats = np.dtype(np.float32)
    needed = [f"{name}=={manifest.libraries[name]}" for name in ("numpy", "onnx", "onnxruntime")]
    (folder / REQUIREMENTS).write_text("\n".join(["mlflow", *needed]) + "\n")
    environment = {"python": platform.python_version(), "dependencies": [f"-r {REQUIREMENTS}"]}
    (folder / PYTHON_ENVIRONMENT).write_text(json.dumps(environment) + "\n")  # JSON is YAML
    signature = ModelSignature(
        inputs=Schema([TensorSpec(floats, (-1, len(manifest.columns)), INPUT)]),
        outputs=Schema([TensorSpec(floats, (-1, len(manifest.labels)), OUTPUT)]),
    )
    model = Model(signature=signature, run_id=manifest.run_id)
    model.add_flavor(
        "onnx",
        onnx_version=manifest.libraries["onnx"],
        data=MODEL_FILE,
        providers=["CPUExecutionProvider"],
        onnx_session_options=None,
        code=None,
    )
    model.add_flavor(
        "python_function",
        loader_module="mlflow.onnx",
        python_version=platform.python_version(),
        data=MODEL_FILE,
        env={"virtualenv": PYTHON_ENVIRONMENT},
    )
    model.save(str(folder / "MLmodel"))
