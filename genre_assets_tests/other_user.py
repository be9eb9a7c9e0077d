"""What another user of the machine can read."""

import stat
from pathlib import Path


def readable_by_others(folder: Path) -> list[Path]:
    """Files that any user but the owner can open, and folders that any can list, by the mode bits on the way to them."""
    found = []
    mode = folder.stat().st_mode
    if mode & (stat.S_IROTH | stat.S_IRGRP):
        found.append(folder)
    if not mode & (stat.S_IXOTH | stat.S_IXGRP):
        return found
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found += readable_by_others(path)
        elif stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IRGRP):
            found.append(path)
    return found
