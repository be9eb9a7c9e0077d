"""An embeddable Python from Debian's packages, fetched and unpacked without root.

For machines whose Pythons have no shared library. apt works in private folders: neither its lists nor its cache nor
the installed packages of the machine are touched.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment.interpreter import Interpreter

MINOR = "3.11"  # Debian 12
VERSION_OF_DEBIAN = "3.11-debian"
PACKAGES = ("libpython3.11", "libpython3.11-stdlib", "libpython3.11-minimal", "python3.11-minimal")
# What the standard library's extension modules and libpython link to, when the machine does not have it.
LIBRARIES = {
    "libexpat.so.1": "libexpat1", "libffi.so.8": "libffi8", "libssl.so.3": "libssl3", "libsqlite3.so.0": "libsqlite3-0",
    "libbz2.so.1.0": "libbz2-1.0", "liblzma.so.5": "liblzma5", "libz.so.1": "zlib1g", "libuuid.so.1": "libuuid1",
    "libreadline.so.8": "libreadline8",
}  # fmt: skip
ADVICE = (
    f"Install Python {MINOR} or 3.12 with its shared library (Debian: apt-get install libpython{MINOR}; pyenv: "
    "PYTHON_CONFIGURE_OPTS=--enable-shared), or make conda-forge reachable and set GENRE_ENVIRONMENT_SOURCE=conda-forge"
)


def fetch(folder: Path, say: Callable[[str], None]) -> Interpreter:
    """Download Debian's Python into `folder` and describe it. Raises `PermanentFailure` that says what to install."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PermanentFailure(f"Triton needs a Python with a shared library, and there is none here. {ADVICE}")
    say(f"no Python with a shared library on this machine: fetching Debian's Python {MINOR}")
    debs = _download(folder / "apt", [*PACKAGES, *_missing_libraries()])
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for deb in debs:
        _run("dpkg-deb", "-x", str(deb), str(tree))
    library = next(tree.glob(f"usr/lib/*/libpython{MINOR}.so.1.0"), None)
    executable = tree / "usr" / "bin" / f"python{MINOR}"
    if library is None or not executable.exists():
        raise PermanentFailure(f"Debian's packages hold no libpython{MINOR}. {ADVICE}")
    answer = _run(str(executable), "-I", "-S", "-c", "import sys; print(sys.version.split()[0])")
    libraries = tuple(p for p in sorted(tree.glob("**/lib/*/lib*.so.*")) if not p.name.startswith("libpython"))
    stdlib = tree / "usr" / "lib" / f"python{MINOR}"
    return Interpreter(answer.strip(), executable, stdlib, library, "Debian packages", libraries)


def _download(folder: Path, packages: list[str]) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    private = [
        "-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}",
        "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=true", "-o", "Acquire::Languages=none",
        "-o", "APT::Update::Post-Invoke::=", "-o", "APT::Update::Post-Invoke-Success::=",
    ]  # fmt: skip
    _run("apt-get", "-qq", *private, "update", cwd=folder / "debs")
    _run("apt-get", "-qq", *private, "download", *packages, cwd=folder / "debs")
    return sorted((folder / "debs").glob("*.deb"))


def _missing_libraries() -> list[str]:
    known = _run("/sbin/ldconfig", "-p")
    return [package for library, package in LIBRARIES.items() if library not in known]


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, timeout=300).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip()[-400:]
        raise PermanentFailure(f"{command[0]} failed: {said}. {ADVICE}") from error
