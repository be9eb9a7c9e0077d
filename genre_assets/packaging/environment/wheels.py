"""The locked wheels of the execution environment: which lines of the lock hold for its Python, and fetching them."""

import subprocess
import sys
from pathlib import Path

from genre_assets.errors import TransientFailure


def download_wheels(lock: Path, minor: str, folder: Path) -> list[Path]:
    """The wheels of a lock for a Python version, hashes verified. Raises `TransientFailure` without the index."""
    from packaging.tags import platform_tags

    tags = [argument for tag in platform_tags() for argument in ("--platform", tag)]
    abi = f"cp{minor.replace('.', '')}"
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(requirements_for(minor, lock.read_text()))
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:",
        "--python-version", minor, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none", *tags,
        "-d", str(folder), "-r", str(requirements),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TransientFailure(f"the locked wheels cannot be downloaded: {done.stderr.strip()[-600:]}")
    return sorted(folder.glob("*.whl"))


def requirements_for(minor: str, lock: str) -> str:
    """The lines of a lock that hold for a Python version, without their markers.

    pip judges markers by the Python that runs it, which may be another one than that of the environment.
    """
    from packaging.markers import Marker

    wanted = []
    for line in lock.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement, *hashes = line.split(" --hash=")
        pinned, _, marker = requirement.partition(";")
        there = {"python_version": minor, "python_full_version": f"{minor}.0"}
        if not marker.strip() or Marker(marker).evaluate(there):
            wanted.append(" ".join([pinned.strip(), *(f"--hash={value.strip()}" for value in hashes)]))
    return "\n".join(wanted) + "\n"
