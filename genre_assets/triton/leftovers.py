"""What a killed Triton leaves outside its own folders, and how to tell it from what a running one uses.

A server that gets SIGKILL leaves its files in /dev/shm and an empty folder of the python backend in /tmp; a build that
gets it leaves the scratch server's folder too. Each is removed once no process of this user can be its owner.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

SCRATCH = "genre-triton-"  # start of the name of a scratch server's folder; its maker's process id follows
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # Triton's own choice
BACKEND_FOLDERS = Path("/tmp")  # noqa: S108  # the python backend's own choice
MAKING_SECONDS = 60.0  # a server makes its backend's folder in its first seconds
_PREFIX = re.compile(r"(genre_\d+_)")


def shm_prefix(http_port: int) -> str:
    """Start of the names of a server's files in /dev/shm."""
    return f"genre_{http_port}_"


def remove_shared_memory(http_port: int) -> None:
    """Remove the files of one server that has ended."""
    for path in SHARED_MEMORY.glob(f"{shm_prefix(http_port)}*"):
        path.unlink(missing_ok=True)


def remove_orphans() -> list[Path]:
    """Remove what servers and builds that were killed left behind; returns what was removed."""
    running = list(_servers())
    found = [*_shared_memory({prefix for prefix, _ in running}), *_backend_folders([at for _, at in running])]
    for path in found:
        with suppress(OSError):  # another process was quicker, or has begun to use it
            path.rmdir() if path.is_dir() else path.unlink()
    scratch = list(_scratch_folders())
    for folder in scratch:
        shutil.rmtree(folder, ignore_errors=True)
    return [*found, *scratch]


def _servers() -> Iterator[tuple[str, float]]:
    """(prefix of its shared memory, when it started) of every tritonserver that runs."""
    for process in psutil.process_iter():
        try:
            if process.name() == "tritonserver" and process.status() != psutil.STATUS_ZOMBIE:
                named = _PREFIX.search(" ".join(process.cmdline()))
                yield named.group(1) if named else "", process.create_time()
        except psutil.Error:
            continue


def _shared_memory(used: set[str]) -> Iterator[Path]:
    for path in SHARED_MEMORY.glob("genre_*"):
        named = _PREFIX.match(path.name)
        if named and named.group(1) not in used and _is_mine(path):
            yield path


def _backend_folders(starts: list[float]) -> Iterator[Path]:
    """Empty folders that no running server can have made."""
    for path in BACKEND_FOLDERS.glob("python_env_??????"):
        with suppress(OSError):
            made = path.stat().st_ctime
            theirs = any(start - 1 <= made <= start + MAKING_SECONDS for start in starts)
            if _is_mine(path) and not theirs and not any(path.iterdir()):
                yield path


def _scratch_folders() -> Iterator[Path]:
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        maker = path.name.removeprefix(SCRATCH).partition("-")[0]
        if maker.isdigit() and not psutil.pid_exists(int(maker)) and _is_mine(path):
            yield path


def _is_mine(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False
