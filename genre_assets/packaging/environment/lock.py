"""What an environment is known by: its lock, its facts, and the folder that holds it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genre_assets import keys
from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment import debian_python, interpreter
from genre_assets.shipped.files import data_file

RECIPE = 2  # raise it when the way of building changes what is built
DEFINITION = data_file("deploy/conda")
READY = "genre-environment.json"  # written last: an environment without it is unfinished


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

    @property
    def key(self) -> str:
        """Key of the archive in the serving bucket."""
        return keys.environment(self.hash)


@dataclass(frozen=True)
class Environment:
    """A ready environment: an unpacked folder for the embedded server, an archive for containers."""

    lock: Lock
    folder: Path
    archive: Path
    python: str
    versions: dict[str, str]
    packages: list[str]  # name-version-build of every conda package
    built_s: dict[str, float] = field(default_factory=dict)  # seconds of each step of the build; absent if reused
    not_forge: str = ""  # why it is made of wheels although conda-forge answered

    @property
    def minor(self) -> str:
        """`3.11` of `3.11.7`: names the stub."""
        return ".".join(self.python.split(".")[:2])

    @property
    def key(self) -> str:
        """Key of the archive in the serving bucket."""
        return self.lock.key


def read(folder: Path) -> Environment:
    """The environment that lives in `folder`. Raises `PermanentFailure` if it is unfinished."""
    try:
        facts = json.loads((folder / READY).read_text())
    except OSError as error:
        raise PermanentFailure(f"{folder} holds no finished environment; materialise conda_pack") from error
    return Environment(Lock(**facts.pop("lock")), folder, folder.with_name(f"{folder.name}.tar.gz"), **facts)


def conda_forge_lock() -> Lock:
    """Lock of an environment that is solved from conda-forge."""
    return Lock("conda-forge", "solved", "linux-64", _sha256(DEFINITION / "environment.yaml"), "")


def local_lock() -> Lock:
    """Lock of an environment made of the pinned wheels and this machine's (or Debian's) Python."""
    found = interpreter.find()
    python = found.version if found else debian_python.VERSION_OF_DEBIAN
    definition, packages = DEFINITION / "environment.yaml", DEFINITION / "wheels.lock"
    return Lock("local", python, _distribution(), _sha256(definition), _sha256(packages))


def facts(environment: Environment) -> dict[str, Any]:
    """What is kept of it, in its folder and beside its archive."""
    known = asdict(environment)
    return {key: known[key] for key in ("lock", "python", "versions", "packages", "built_s", "not_forge")}


def _distribution() -> str:
    try:
        facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    except OSError:
        return "linux"
    return f"{facts.get('ID', 'linux')}-{facts.get('VERSION_ID', '')}".replace('"', "")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
