"""Files that are whole or are not there: written under another name in the same folder, then renamed.

A rename within a folder is one step for every reader. What a killed writer left under the other name is removed by the
next writer of the same file, and is never taken for the file itself.

Done otherwise, on purpose: folders (`rename` refuses a folder that is not empty, so the old one goes first), downloads
that go on where they ended (`shipped/wheels.py`), files that grow (the spool).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unfinished(path: Path, *, mode: int | None = None, synced: bool = False, own_name: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` where nothing is; at the end of the block it replaces `path`, on an exception it is removed.

    The folder must be there. Whoever may write `path` at the same time needs a lock, or `own_name`.

    Parameters
    ----------
    path
        What appears whole: a file or a symbolic link.
    mode
        Make the file first, empty and with this mode: nobody else can open it while it is written.
    synced
        Have the content on the disk before the rename, so that a power cut leaves no empty file. Not for a link.
    own_name
        No other thread or process of this machine uses the name beside `path`; nor does one remove it after a kill.

    Raises
    ------
    OSError
        If it cannot be written or renamed; `path` is as it was.
    """
    part = path.with_name(f".{path.name}.{threading.get_native_id()}.part" if own_name else f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        if mode is not None:
            part.touch(mode=mode)
        yield part
        if synced:
            with part.open("rb") as written:
                os.fsync(written.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Write the file whole, a text as UTF-8; see `unfinished` for `mode`. Raises `OSError`."""
    data = content.encode() if isinstance(content, str) else content
    with unfinished(path, mode=mode) as part:
        part.write_bytes(data)
