"""The state folder is its owner's alone: audio, models and logs are nobody else's to read.

What the services make is closed by the supervisor's umask. This closes what an earlier version left open.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OWNER_ONLY = 0o077  # as a umask
# PostgreSQL, which may run as another user, has to pass through to its own folder: no listing, no reading.
PASSED_THROUGH = 0o711
# PostgreSQL's folder is its own business, and closed by itself.
FOLDERS = ("s3", "triton", "dagster", "environments", "tmp", "logs", "run", "synthetic_audio")


def close_to_others(home: Path) -> None:
    """Take from all but the owner what is in the state folder; one that is closed already costs nothing."""
    _keep(home, PASSED_THROUGH)
    for folder in (home / name for name in FOLDERS):
        if folder.is_symlink() or not folder.is_dir() or not folder.stat().st_mode & OWNER_ONLY:
            continue
        for inside in _own_files(folder):
            _keep(inside, ~OWNER_ONLY)
        _keep(folder, ~OWNER_ONLY)  # last: it says that all is done


def _own_files(folder: Path) -> Iterator[Path]:
    """All below it, but links and files that have another name elsewhere (in an installer's cache)."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running service removed it
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                yield path


def _keep(path: Path, bits: int) -> None:
    """Leave of the mode these bits; another user's file, and a folder that is shared by its nature (/tmp), as they are."""
    found = path.stat(follow_symlinks=False)
    if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX and found.st_mode & ~bits & 0o777:
        path.chmod(stat.S_IMODE(found.st_mode) & bits)
