"""Triton's execution environment: one folder and one archive for each lock, built once, found again ever after.

`ensure` looks in this order: the unpacked folder under `<home>/environments`, the archive in the serving bucket, and
only then builds: py-rattler solves and installs (from conda-forge, or from a local channel made of locked wheels and
this machine's Python), the environment is warmed and verified, conda-pack packs it.

The platform's own code is not part of it: it travels beside `model.py` (see `code.py`), so that a changed line of ours
rebuilds nothing here.
"""

import asyncio
import fcntl
import hashlib
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genre_assets.errors import PermanentFailure
from genre_assets.packaging import debian_python, interpreter
from genre_assets.packaging.wheels import download_wheels
from genre_assets.settings import Settings
from genre_assets.stack import triton_binary
from genre_assets.store import ObjectStore

RECIPE = 2  # raise it when the way of building changes what is built
DEFINITION = Path(__file__).resolve().parents[2] / "deploy" / "conda"
CONDA_FORGE = "https://conda.anaconda.org/conda-forge"
READY = "genre-environment.json"  # written last: an environment without it is unfinished

# Runs inside the environment: every import that the Triton models make, and the facts that the checks look at.
_WARM = """
import json, sys
import numpy, scipy, scipy.fft, scipy.signal, scipy.ndimage, scipy.stats, soundfile, av, onnxruntime, psycopg2, psycopg2.extras
import boto3, botocore.config, pydantic, pydantic_settings
boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
versions = {m.__name__: m.__version__ for m in (numpy, scipy, soundfile, av, onnxruntime, psycopg2, boto3, pydantic)}
print(json.dumps({"python": sys.version.split()[0], "prefix": sys.prefix, "versions": versions}))
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Lock:
    """What decides whether an environment can be used again."""

    source: str  # conda-forge | local
    python: str  # the exact version for a local channel, the spec for conda-forge
    system: str  # a local channel's binaries belong to this distribution
    definition: str  # hash of environment.yaml
    packages: str  # hash of wheels.lock; empty for conda-forge, whose solver chooses
    recipe: int = RECIPE

    @property
    def hash(self) -> str:
        """Short content hash: the environment's name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Environment:
    """A ready environment: an unpacked folder for the embedded server, an archive for containers."""

    lock: Lock
    folder: Path
    archive: Path
    python: str
    versions: dict[str, str]
    packages: list[str]  # name-version-build of every conda package
    built_s: dict[str, float] = field(
        default_factory=dict
    )  # seconds of each step of the build; what was reused is absent

    @property
    def minor(self) -> str:
        """`3.11` of `3.11.7`: names the stub."""
        return ".".join(self.python.split(".")[:2])

    @property
    def key(self) -> str:
        """Key of the archive in the serving bucket."""
        return f"environments/{self.lock.hash}.tar.gz"


def ensure(settings: Settings, store: ObjectStore, say: Say = lambda _: None) -> Environment:
    """The environment of the present lock, in the folder and in the bucket, built only if it is nowhere.

    Raises `PermanentFailure` that says what to install when it cannot be built here.
    """
    root = settings.home / "environments"
    root.mkdir(parents=True, exist_ok=True)
    lock = choose_lock(settings, root)
    folder, archive = root / lock.hash, root / f"{lock.hash}.tar.gz"
    key = f"environments/{lock.hash}.tar.gz"
    published = store.exists(settings.serving_bucket, key)
    with _one_at_a_time(root):
        if not (folder / READY).exists() and published:
            say(f"unpacking environment {lock.hash} from the serving bucket")
            shutil.rmtree(folder, ignore_errors=True)
            store.download_file(settings.serving_bucket, key, archive)
            unpack(archive, folder)
        elif not (folder / READY).exists():
            build(lock, folder, archive, say)
    environment = read(folder)
    if not published:
        if not archive.exists():
            pack(folder, archive)
        store.upload_file(settings.serving_bucket, key, archive)
        store.write_json(settings.serving_bucket, key.replace(".tar.gz", ".json"), _facts(environment))
    return environment


def read(folder: Path) -> Environment:
    """The environment that lives in `folder`. Raises `PermanentFailure` if it is unfinished."""
    try:
        facts = json.loads((folder / READY).read_text())
    except OSError as error:
        raise PermanentFailure(f"{folder} holds no finished environment; materialise conda_pack") from error
    return Environment(Lock(**facts.pop("lock")), folder, folder.with_name(f"{folder.name}.tar.gz"), **facts)


def choose_lock(settings: Settings, root: Path) -> Lock:
    """The lock that holds on this machine: what is here already is kept, whichever source it came from."""
    locks = {"conda-forge": conda_forge_lock, "local": local_lock}
    if settings.environment_source != "auto":
        return locks[settings.environment_source]()
    for make in locks.values():
        lock = make()
        if (root / lock.hash / READY).exists():
            return lock
    return locks["conda-forge" if _answers(CONDA_FORGE) else "local"]()


def conda_forge_lock() -> Lock:
    """Lock of an environment that is solved from conda-forge."""
    return Lock("conda-forge", "solved", "linux-64", _sha256(DEFINITION / "environment.yaml"), "")


def local_lock() -> Lock:
    """Lock of an environment made of the pinned wheels and this machine's (or Debian's) Python."""
    found = interpreter.find()
    python = found.version if found else debian_python.VERSION_OF_DEBIAN
    definition, packages = DEFINITION / "environment.yaml", DEFINITION / "wheels.lock"
    return Lock("local", python, _distribution(), _sha256(definition), _sha256(packages))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack to a new folder, whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="tar")
    partial.rename(folder)
    conda_unpack = folder / "bin" / "conda-unpack"
    subprocess.run([folder / "bin" / "python3", conda_unpack], check=True, capture_output=True)


def pack(folder: Path, archive: Path) -> None:
    """Pack the environment, as conda-pack does for any conda prefix."""
    import conda_pack

    partial = archive.with_name(f"{archive.name}.part.tar.gz")
    partial.unlink(missing_ok=True)
    conda_pack.pack(prefix=str(folder), output=str(partial), compress_level=1, n_threads=-1)
    partial.replace(archive)
    # conda-pack puts its activation script into the archive only; Triton wants it in the folder as well.
    script = Path(conda_pack.__file__).parent / "scripts" / "posix" / "activate"
    shutil.copyfile(script, folder / "bin" / "activate")


def warm(folder: Path) -> dict[str, Any]:
    """Import in the environment whatever the models import; returns its facts. Raises `PermanentFailure`."""
    variables = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(folder / "lib")}
    done = subprocess.run(
        [folder / "bin" / "python3", "-c", _WARM], capture_output=True, text=True, env=variables, cwd="/", check=False
    )
    if done.returncode:
        raise PermanentFailure(
            f"the execution environment does not import what the models need: {done.stderr.strip()[-800:]}"
        )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two processes that want the same environment must not build it into each other."""
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(lock: Lock, folder: Path, archive: Path, say: Say) -> None:
    """Build, warm and pack; a build that fails leaves nothing behind."""
    shutil.rmtree(folder, ignore_errors=True)
    seconds: dict[str, float] = {}

    def step(name: str, since: float) -> float:
        seconds[name] = round(time.monotonic() - since, 2)
        return time.monotonic()

    work = folder.with_name(f"{folder.name}.build")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    start = time.monotonic()
    try:
        say(f"building the execution environment {lock.hash} from {lock.source}")
        channel = CONDA_FORGE if lock.source == "conda-forge" else local_channel(work, say)
        start = step("channel", start)
        specs = yaml.safe_load((DEFINITION / "environment.yaml").read_text())["dependencies"]
        packages = asyncio.run(_solve_and_install(channel, specs, folder, work / "cache"))
        start = step("install", start)
        facts = warm(folder)
        _add_stub_libraries(folder, facts["python"])
        start = step("warm", start)
        ready = Environment(lock, folder, archive, facts["python"], facts["versions"], packages, seconds)
        (folder / READY).write_text(json.dumps(_facts(ready), indent=1))
        pack(folder, archive)
        step("pack", start)
        (folder / READY).write_text(json.dumps(_facts(ready), indent=1))
        say(f"built {lock.hash} in {sum(seconds.values()):.0f} s")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def local_channel(work: Path, say: Say) -> str:
    """Make the channel of locked wheels and a relocatable Python under `work`; returns its address."""
    from genre_assets.packaging.channel import build_channel

    python = interpreter.find() or debian_python.fetch(work / "debian", say)
    say(f"Python {python.version} ({python.origin}); fetching the locked wheels")
    wheels = download_wheels(DEFINITION / "wheels.lock", python.minor, work / "wheels")
    build_channel(work / "channel", python, wheels)
    return (work / "channel").as_uri()


async def _solve_and_install(channel: str, specs: list[str], folder: Path, cache: Path) -> list[str]:
    from rattler import VirtualPackage, install, solve

    records = await solve(sources=[channel], specs=specs, virtual_packages=VirtualPackage.detect())
    await install(records, target_prefix=folder, cache_dir=cache, show_progress=False)
    (folder / "conda-meta" / "history").touch()  # conda-pack knows a conda environment by this file
    return sorted(f"{r.name.normalized}-{r.version}-{r.build}" for r in records)


def _add_stub_libraries(folder: Path, python: str) -> None:
    """Put what the stub needs and only the server's wheel has beside the environment's own libraries.

    Triton starts the stub with the environment's libraries first, so a container that lacks them can start it too.
    """
    stub = triton_binary.stub(".".join(python.split(".")[:2]))
    for name in triton_binary.needed_libraries(stub):
        source = triton_binary.libraries() / name
        if source.exists():
            shutil.copy2(source, folder / "lib" / name)


def _facts(environment: Environment) -> dict[str, Any]:
    facts = asdict(environment)
    return {key: facts[key] for key in ("lock", "python", "versions", "packages", "built_s")}


def _answers(url: str) -> bool:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(f"{url}/noarch/repodata.json.zst", method="HEAD"), timeout=4):  # noqa: S310  # a constant
            return True
    except (URLError, OSError):
        return False


def _distribution() -> str:
    try:
        facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    except OSError:
        return "linux"
    return f"{facts.get('ID', 'linux')}-{facts.get('VERSION_ID', '')}".replace('"', "")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
