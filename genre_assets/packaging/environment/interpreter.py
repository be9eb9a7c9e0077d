"""Where the execution environment's Python comes from when conda-forge does not answer.

Triton's python backend embeds the interpreter, so it needs `libpython3.x.so.1.0`, which many Pythons do not have
(Debian's own is static, python.org's is by default). In this order: the installation under the running interpreter,
another one on the machine, Debian's packages fetched without root (`debian_python.py`).

Only finding and describing interpreters belongs here; `channel.py` makes them relocatable.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.11", "3.12")  # the newest for which numpy 1.26 has wheels, and the oldest that the platform runs on

_DESCRIBE = """
import json, sys, sysconfig
print(json.dumps({
    "version": sys.version.split()[0], "prefix": sys.base_prefix, "stdlib": sysconfig.get_path("stdlib"),
    "folders": [sysconfig.get_config_var(v) or "" for v in ("LIBDIR", "LIBPL")], "arch": sysconfig.get_config_var("MULTIARCH") or "",
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can be embedded: its standard library, its executable and its shared library."""

    version: str  # 3.11.7
    executable: Path
    stdlib: Path
    library: Path
    origin: str  # "this installation" | "found on this machine" | "Debian packages"
    libraries: tuple[Path, ...] = ()  # shared libraries that it needs and the machine does not have

    @property
    def minor(self) -> str:
        """`3.11` of `3.11.7`."""
        return ".".join(self.version.split(".")[:2])


def describe(executable: Path, origin: str) -> Interpreter | None:
    """The base installation behind an executable, or None if it cannot be embedded."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", _DESCRIBE], capture_output=True, text=True, timeout=20, check=True
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    minor = ".".join(facts["version"].split(".")[:2])
    prefix = Path(facts["prefix"])
    base = prefix / "bin" / f"python{minor}"
    folders = [*facts["folders"], prefix / "lib", prefix / "lib" / facts["arch"], Path("/usr/lib") / facts["arch"]]
    library = next(
        (Path(f) / f"libpython{minor}.so.1.0" for f in folders if (Path(f) / f"libpython{minor}.so.1.0").exists()), None
    )
    if minor not in VERSIONS or library is None or not base.exists():
        return None
    return Interpreter(facts["version"], base.resolve(), Path(facts["stdlib"]), library.resolve(), origin)


def candidates() -> Iterator[tuple[Path, str]]:
    """Executables to look at, the most likely first."""
    yield Path(sys.executable), "this installation"
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    home = Path.home()
    folders += [*sorted(home.glob(".pyenv/versions/*/bin")), *sorted(home.glob(".local/share/uv/python/*/bin"))]
    folders += [Path("/usr/local/bin"), Path("/usr/bin")]
    for version in VERSIONS:
        for folder in dict.fromkeys(folders):
            executable = folder / f"python{version}"
            if executable.exists() and "shims" not in folder.parts:
                yield executable, "found on this machine"


def find() -> Interpreter | None:
    """The first Python on this machine that can be embedded."""
    for executable, origin in candidates():
        found = describe(executable, origin)
        if found is not None:
            return found
    return None
