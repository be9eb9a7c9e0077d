"""The ensemble against the reference system's way of serving, on the same clips, features and machine.

Its way is rewritten as a Triton repository (`reference_repository/`): a process for each file, librosa, features
written back to S3, a scikit-learn forest, and an Evidently drift check with a database insert inside the request. Both
are asked for the same objects in S3, in batches; the platform serves the same 37 features.
"""

import importlib
import inspect
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from genre_assets.packaging.config import ModelConfig, Step, Tensor, to_pbtxt
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton import binary
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.scratch import scratch_triton
from genre_assets_tests.conftest import free_port, running

SOURCES = Path(__file__).parent / "reference_repository"
PACKAGES = (
    "numpy<2",
    "librosa==0.11.*",
    "scikit-learn",
    "evidently>=0.7.20,<0.8",
    "pandas<3",
    "psycopg2-binary",
    "boto3",
)
CLIPS, BATCH, ROUNDS = 16, 8, 2


def run() -> list[Result]:
    """One after the other, alternating, over the same objects."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        port = free_port()
        settings = load_settings(
            root / "home", s3_port=port, s3_endpoint_url=f"http://127.0.0.1:{port}", s3_secret_key=uuid.uuid4().hex,
            postgres_port=free_port(),
        )  # fmt: skip
        postgres = Postgres(settings, password=uuid.uuid4().hex)
        with running(S3(settings)), running(postgres):
            store = ObjectStore(s3_client(settings))
            keys = [f"rock/{i}.wav" for i in range(CLIPS)]
            for key, data in zip(keys, bench_of.clips(CLIPS), strict=True):
                store.put_bytes(settings.raw_bucket, key, data)
            ours, theirs = measure(root, settings, postgres.url("genre"), keys)
    ratio = theirs / ours
    return [
        bench_of.figure("throughput of the ensemble / the reference's way", ratio, "x", ">= 20", ratio >= 20),
        bench_of.figure("seconds per clip, the reference's way, batches of 8", theirs, "s"),
        bench_of.figure("seconds per clip, the ensemble, the same 37 features from S3", ours, "s"),
    ]


def measure(root: Path, settings: Settings, database: str, keys: list[str]) -> tuple[float, float]:
    """Seconds a clip of (ensemble, reference)."""
    repository, variables = reference(root / "reference", settings, database)
    secret = settings.s3_secret_key.get_secret_value()
    given = {
        "GENRE_S3_ENDPOINT_URL": settings.s3_endpoint_url or "", "GENRE_S3_SECRET_KEY": secret,
        "GENRE_DATABASE_URL": database, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    spent = {"ours": 0.0, "theirs": 0.0}
    items: list[bytes | str] = [f"s3://{settings.raw_bucket}/{key}" for key in keys]
    with (
        bench_of.bench(variables=given, feature_set="gtzan37", segment_seconds=30.0) as live,
        GenreClient(live.server.grpc, batch=BATCH // 2, concurrency=2) as client,
        scratch_triton(repository, "genre_reference", variables=variables, start_seconds=300) as server,
    ):
        assert not any(answer.error for answer in client.predict(items))
        ask_reference(server.grpc, keys[:2])
        for _ in range(ROUNDS):
            started = time.perf_counter()
            client.predict(items)
            spent["ours"] += time.perf_counter() - started
            started = time.perf_counter()
            ask_reference(server.grpc, keys)
            spent["theirs"] += time.perf_counter() - started
    return spent["ours"] / ROUNDS / len(keys), spent["theirs"] / ROUNDS / len(keys)


def ask_reference(address: str, keys: list[str]) -> None:
    """Its client sends batches of keys."""
    import tritonclient.grpc as grpcclient

    client: Any = grpcclient.InferenceServerClient(address)
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        tensor = grpcclient.InferInput("KEYS", [len(batch), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[key.encode()] for key in batch], dtype=object))
        answer = client.infer("genre_reference", [tensor]).as_numpy("LABELS")
        assert answer.shape == (len(batch), 1)
    client.close()


def reference(folder: Path, settings: Settings, database: str) -> tuple[Path, dict[str, str]]:
    """The reference's repository with its environment; returns it and the variables that its models read."""
    models = folder / "models"
    shutil.copytree(SOURCES, folder / "sources")
    keys, features = Tensor("KEYS", "BYTES"), Tensor("FEATURES", "FP32", (37,))
    numbers, labels = Tensor("NUMBERS", "INT64"), Tensor("LABELS", "BYTES")
    environment = {"EXECUTION_ENV_PATH": str(reference_environment())}
    steps = (
        ModelConfig("pre_processor_1", 64, (keys,), (features,), parameters=environment),
        ModelConfig("predictor_1", 64, (features,), (numbers,), parameters=environment),
        ModelConfig("post_processor_1", 64, (numbers,), (labels,), parameters=environment),
    )
    ensemble = ModelConfig(
        "genre_reference", 64, (keys,), (labels,),
        steps=tuple(Step(c.name, {t.name: t.name for t in c.inputs}, {t.name: t.name for t in c.outputs}) for c in steps),
    )  # fmt: skip
    for config in (*steps, ensemble):
        (models / config.name / "1").mkdir(parents=True)
        (models / config.name / "config.pbtxt").write_text(to_pbtxt(config))
        if config is not ensemble:
            shutil.copy2(folder / "sources" / config.name / "model.py", models / config.name / "1" / "model.py")
            stub = binary.stub(f"{sys.version_info[0]}.{sys.version_info[1]}")
            shutil.copy2(stub, models / config.name / stub.name)
    equality = importlib.import_module("genre_assets.audio.feature_sets.equality")
    code = ["import importlib", "from typing import Any", "import numpy as np", "Samples = Floats = Any"]
    code += [inspect.getsource(equality.by_librosa), inspect.getsource(equality._scaled)]
    (folder / "equality_of_the_reference.py").write_text("\n".join(code))
    return models, {
        "REFERENCE_CODE": str(folder), "REFERENCE_S3": settings.s3_endpoint_url or "", "REFERENCE_KEY": settings.s3_access_key,
        "REFERENCE_SECRET": settings.s3_secret_key.get_secret_value(), "REFERENCE_BUCKET": settings.raw_bucket,
        "REFERENCE_DATABASE": database, "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def reference_environment() -> Path:
    """A virtual environment with its libraries, made once; Triton takes it for a packed one."""
    folder = Path(".genre-bench").absolute() / "reference"
    library = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    if not (folder / "lib" / library).exists():
        from genre_assets.packaging.environment import interpreter

        found = interpreter.describe(Path(sys.executable), "here")
        assert found is not None, "this comparison needs a Python with a shared library"
        subprocess.run([sys.executable, "-m", "venv", "--copies", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *PACKAGES], check=True)
        for name in ("libcudart-09529672.so.12.6.77",):
            shutil.copy2(binary.libraries() / name, folder / "lib" / name)
        shutil.copy2(found.library, folder / "lib" / library)
    return folder
