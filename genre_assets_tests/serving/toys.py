"""Small real models and clips for the tests of packaging and serving: trained by nobody, but ONNX through and through."""

import hashlib
import io
import wave
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.genres import GENRES
from genre_assets.models.onnx.portable import INPUT, MANIFEST_FILE, MODEL_FILE, OUTPUT, ModelManifest

CUT = Cut(30.0, 10.0, "start", 1.0)


def toy_model(
    folder: Path,
    *,
    version: int,
    family: str,
    seed: int,
    feature_set: str = "default",
    cut: Cut = CUT,
    labels: tuple[str, ...] = GENRES,
) -> Path:
    """A random linear softmax classifier as a portable model."""
    features = FEATURE_SETS[feature_set]
    random = np.random.default_rng(seed)
    weights = (random.standard_normal((len(features.columns), len(labels))) * 0.01).astype(np.float32)
    bias = random.standard_normal(len(labels)).astype(np.float32)
    # Squashed first: raw features differ by orders of magnitude.
    nodes = [
        helper.make_node("Tanh", [INPUT], ["squashed"]),
        helper.make_node("Gemm", ["squashed", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1),
    ]
    weights = weights * 40
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(features.columns)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, len(labels)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    onnx.checker.check_model(model)
    (folder / MODEL_FILE).write_bytes(data)
    manifest = ModelManifest(
        family=family, labels=labels, feature_set=features.name, feature_set_version=features.version,
        columns=features.columns, data_version="toy", run_id=f"run{version}", created="2026-11-23T00:00:00+00:00",
        version=version, hashes={MODEL_FILE: hashlib.sha256(data).hexdigest()}, libraries={"onnx": onnx.__version__},
        cut=cut,
    )  # fmt: skip
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return folder


def clip(seed: int, *, seconds: float = 1.2, rate: int = 8_000) -> bytes:
    """A distinct short wav."""
    random = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    frequency = 80 + 1_500 * random.random()
    samples = 0.3 * np.sin(2 * np.pi * frequency * time) + 0.1 * random.random() * random.standard_normal(len(time))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32_000).astype("<i2").tobytes())
    return buffer.getvalue()
