"""Who runs a server that refuses to run as root.

A user that is not root runs it itself. Root gives up its name and all its powers but not its files: in a user namespace
the server is `nobody` to itself and the plain owner of root's files to the rest, without one capability, so it reaches
`/root` (closed to others) and no other process gains anything. Where the kernel has no user namespaces for root (in
some containers), or where the folder belongs to somebody else and is closed to root without its powers, the folder's
owner runs it, or else `nobody`, if they reach what it needs. No folder's mode is loosened.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import PermanentFailure

NOBODY = "nobody"  # every Debian has it, and the server wants a name for its user


@dataclass(frozen=True)
class ServerUser:
    """A prefix for the command, and the user and group whom the server's files must belong to (None: as they are)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Give `path` and what is in it to the server, unless it has them already."""
        if self.uid is None or self.gid is None or path.lstat().st_uid == self.uid:
            return
        for inside in path.rglob("*"):
            os.chown(inside, self.uid, self.gid, follow_symlinks=False)
        os.chown(path, self.uid, self.gid)  # last: it says that all is done


def server_user(binary: Path, home: Path) -> ServerUser:
    """Choose who runs `binary` on files below `home`. Raises `PermanentFailure` if root finds nobody who could."""
    if os.geteuid() != 0:
        return ServerUser()
    for candidate in _candidates(home):
        if _reaches(candidate, binary, home):
            return candidate
    raise PermanentFailure(
        f"PostgreSQL refuses to run as root, and no other user can reach both {binary} and {home}: the folders above "
        "them are closed, and this machine has no user namespaces (is it a container?). Move the checkout and "
        "GENRE_HOME to a folder that others may enter, or run as the owner of the folder"
    )


def _candidates(home: Path) -> Iterator[ServerUser]:
    nobody = pwd.getpwnam(NOBODY)
    if unshare := shutil.which("unshare"):
        mapped = ("--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--")
        yield ServerUser((unshare, *mapped), 0, 0)
    if setpriv := shutil.which("setpriv"):
        there = next(folder for folder in (home, *home.parents) if folder.exists()).stat()
        for uid, gid in ((there.st_uid, there.st_gid), (nobody.pw_uid, nobody.pw_gid)):
            if uid != 0:
                drop = ("--clear-groups", "--inh-caps=-all", "--no-new-privs", "--")
                yield ServerUser((setpriv, f"--reuid={uid}", f"--regid={gid}", *drop), uid, gid)


def _reaches(user: ServerUser, binary: Path, home: Path) -> bool:
    """Whether the user can run the binary and enter the folder that holds the data."""
    home.mkdir(parents=True, exist_ok=True)
    question = 'test -x "$1" && test -x "$2"'
    asked = subprocess.run(
        [*user.prefix, "sh", "-c", question, "sh", str(binary), str(home)], capture_output=True, cwd="/", check=False
    )
    return asked.returncode == 0
