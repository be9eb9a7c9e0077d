"""What the serving benchmarks stand on: a scratch Triton over a real release, models of real size, 30 s clips."""

import hashlib
import io
import json
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import figures
from benchmarks.figures import Result
from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.genres import GENRES
from genre_assets.inference.request_log import COLUMNS, Row
from genre_assets.models.onnx.portable import INPUT, MANIFEST_FILE, MODEL_FILE, OUTPUT, ModelManifest
from genre_assets.packaging import release
from genre_assets.packaging.environment import build, lock
from genre_assets.packaging.environment.lock import Environment
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.settings import Settings, load_settings
from genre_assets.triton.protocol import ENSEMBLE
from genre_assets.triton.scratch import Scratch, scratch_triton

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtzan_subset"
TREES = 200


def figure(name: str, value: float, unit: str, bar: str = "", holds: bool = True) -> Result:
    """One line of the results of the serving stage."""
    return figures.figure(f"serving: {name}", value, unit, bar, holds)


@dataclass(frozen=True)
class Bench:
    """A running server over a release of two forests."""

    server: Scratch
    repository: Path
    models: dict[int, Path]
    release: release.Release
    settings: Settings


def execution_environment(home: Path) -> Environment:
    """The environment of the locked wheels in a state folder, built there without an object store if it is not there yet."""
    settings = load_settings(home)
    root = settings.home / "environments"
    root.mkdir(parents=True, exist_ok=True)
    made_of = lock.local_lock()
    folder = root / made_of.hash
    if not (folder / lock.READY).exists():
        build.build(made_of, folder, root / f"{made_of.hash}.tar.gz", print, forge=settings.conda_channel)
    return lock.read(folder)


@contextmanager
def bench(
    *, variables: dict[str, str] | None = None, feature_set: str = "default", segment_seconds: float = 10.0
) -> Iterator[Bench]:
    """Serve two forests of 200 trees; `variables` go to the models (the prediction log's database)."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = load_settings(home / "home", segment_seconds=segment_seconds)
        made_in = execution_environment(Path(".genre-bench"))
        models = {version: forest(home / f"m{version}", version, feature_set) for version in (1, 2)}
        made = release.build(home / "release", settings, made_in, models, {"champion": 1, "fallback": 2})
        repository = home / "release" / "models"
        ModelRepository(repository).link_environment(made_in.folder)
        settings.home.mkdir()
        given = {"GENRE_HOME": str(settings.home), **(variables or {})}
        with scratch_triton(repository, ENSEMBLE, variables=given) as server:
            yield Bench(server, repository, models, made, settings)


def logged(settings: Settings) -> Iterator[Row]:
    """Rows of the prediction log that wait in the spool (no database is there to take them)."""
    for path in sorted((settings.home / "triton" / "spool").glob("*")):
        for line in path.read_text().splitlines():
            yield Row(**dict(zip(COLUMNS, json.loads(line), strict=True)))


def forest(folder: Path, version: int, feature_set: str = "default") -> Path:
    """A random forest of the size of a tuned one, trained on made-up rows, as a portable model."""
    import onnx
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    features = FEATURE_SETS[feature_set]
    random = np.random.default_rng(version)
    rows = random.standard_normal((1500, len(features.columns))).astype(np.float32)
    classes = random.integers(0, len(GENRES), 1500)
    model = RandomForestClassifier(TREES, random_state=version, n_jobs=1).fit(rows, classes)
    graph = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset=17)
    del graph.graph.output[0]  # the label: the platform's models give probabilities only
    rename = {graph.graph.input[0].name: INPUT, graph.graph.output[0].name: OUTPUT}
    for node in graph.graph.node:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
    graph.graph.input[0].name, graph.graph.output[0].name = INPUT, OUTPUT
    graph.graph.output[0].type.tensor_type.shape.Clear()
    for size in (None, len(GENRES)):
        dim = graph.graph.output[0].type.tensor_type.shape.dim.add()
        if size:
            dim.dim_value = size
    onnx.checker.check_model(graph)
    folder.mkdir()
    data = graph.SerializeToString()
    (folder / MODEL_FILE).write_bytes(data)
    manifest = ModelManifest(
        family="random_forest", labels=GENRES, feature_set=features.name, feature_set_version=features.version,
        columns=features.columns, data_version="bench", run_id="bench", created="", version=version,
        hashes={MODEL_FILE: hashlib.sha256(data).hexdigest()},
        cut=Cut(30.0, 10.0, "start", 1.0),
    )  # fmt: skip
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return folder


def clips(count: int) -> list[bytes]:
    """30 s wav files: real ones if they are beside the checkout, else noise of the same size."""
    real = sorted(CLIPS.glob("*/*.wav"))[:count]
    if len(real) == count:
        return [path.read_bytes() for path in real]
    return [_noise(i) for i in range(count)]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes so far."""
    import os

    total = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(words[11]) + int(words[12])
    return total / os.sysconf("SC_CLK_TCK")


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return float(np.quantile(np.array(values), share))


def timed(call: object, times: int) -> list[float]:
    """Seconds of each of `times` calls."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()  # type: ignore[operator]
        found.append(time.perf_counter() - started)
    return found


def _noise(seed: int) -> bytes:
    samples = (np.random.default_rng(seed).standard_normal(22_050 * 30) * 3000).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
