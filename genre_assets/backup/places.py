"""Where an archive lies: a folder, or a prefix of a bucket. Every file appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from genre_assets.disk.whole import unfinished
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

SPARE_BYTES = 200_000_000  # stay free beside what is written: a full disk stops more than a backup
SCHEME = "s3://"
PARTS = ".parts"  # what is being written


class Place(Protocol):
    """A flat set of named files; names have slashes."""

    def add(self, name: str, file: Path) -> None:
        """Take a file in under this name, replacing what has it; `file` may be gone afterwards."""
        ...

    def fetch(self, name: str, to: Path) -> Path:
        """The file on this machine's disk: where it lies, or downloaded to `to`. Raises `FileNotFoundError`."""
        ...

    def sizes(self) -> dict[str, int]:
        """Every file, with its bytes."""
        ...

    def scratch(self, close_to: Path | None = None) -> AbstractContextManager[Path]:
        """A folder for unfinished files, until the end of the block."""
        ...

    def require_room(self, size: int) -> None:
        """Raise `PermanentFailure` if so many bytes do not fit."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder that its owner alone reads."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def add(self, name: str, file: Path) -> None:
        """See `Place`."""
        target = self.path / name
        _closed_folder(target.parent)
        file.chmod(0o600)
        with unfinished(target, synced=True) as part:
            shutil.move(file, part)  # over a border of disks it copies

    def fetch(self, name: str, to: Path) -> Path:  # noqa: ARG002  # it is on disk already
        """See `Place`."""
        if not (self.path / name).is_file():
            raise FileNotFoundError(f"{self.path / name} is not there")
        return self.path / name

    def sizes(self) -> dict[str, int]:
        """See `Place`."""
        files = (path for path in self.path.rglob("*") if path.is_file() and path.suffix != ".part")
        named = ((path.relative_to(self.path).as_posix(), path) for path in files)
        return {name: path.stat().st_size for name, path in named if not name.startswith(f"{PARTS}/")}

    @contextmanager
    def scratch(self, close_to: Path | None = None) -> Iterator[Path]:
        """On the same disk as the archive, so that a file is taken in by a rename; elsewhere for who only reads."""
        if close_to is not None:
            with tempfile.TemporaryDirectory(prefix="genre_restore_", dir=close_to) as folder:
                yield Path(folder)
            return
        parts = self.path / PARTS
        shutil.rmtree(parts, ignore_errors=True)  # of a backup that was killed
        _closed_folder(parts)
        try:
            yield parts
        finally:
            shutil.rmtree(parts, ignore_errors=True)

    def require_room(self, size: int) -> None:
        """See `Place`."""
        require_room(self.path, size, "the backup")


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket, at the endpoint of the stack."""

    store: ObjectStore
    bucket: str
    prefix: str  # empty, or with a slash at its end

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    def add(self, name: str, file: Path) -> None:
        """See `Place`."""
        self.store.upload_file(self.bucket, f"{self.prefix}{name}", file)
        file.unlink()

    def fetch(self, name: str, to: Path) -> Path:
        """See `Place`."""
        self.store.download_file(self.bucket, f"{self.prefix}{name}", to)
        return to

    def sizes(self) -> dict[str, int]:
        """See `Place`."""
        listed = self.store.list(self.bucket, self.prefix)
        return {entry.key.removeprefix(self.prefix): entry.size for entry in listed}

    @contextmanager
    def scratch(self, close_to: Path | None = None) -> Iterator[Path]:
        """See `Place`."""
        with tempfile.TemporaryDirectory(prefix="genre_backup_", dir=close_to) as folder:
            yield Path(folder)

    def require_room(self, size: int) -> None:
        """Nobody can ask a bucket."""


def place(address: str, settings: Settings, store: ObjectStore) -> Folder | Bucket:
    """The place of an address, `s3://bucket/prefix` or a path. Raises `BadInput` for a bucket that is itself backed up."""
    if not address.startswith(SCHEME):
        return Folder(Path(address).absolute())
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    own = own_buckets(settings).values()
    if not bucket or bucket in own:
        raise BadInput(
            f"{address}: name a bucket for backups, s3://bucket/prefix; it must be none of the platform's own "
            f"({', '.join(own)}), or the backup would hold itself"
        )
    if not store.has_bucket(bucket):
        raise BadInput(f"there is no bucket {bucket} at {settings.s3_endpoint_url or 'AWS'}: make it first")
    return Bucket(store, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "")


def own_buckets(settings: Settings) -> dict[str, str]:
    """The platform's buckets by what they are for."""
    return {
        role: getattr(settings, f"{role}_bucket") for role in ("raw", "clients", "features", "mlflow", "serving")
    }  # fmt: skip


def _closed_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone: `mkdir` does so with the last one only."""
    for one in (*reversed(folder.parents), folder):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)


def require_room(folder: Path, size: int, what: str) -> None:
    """Raise `PermanentFailure` if `size` bytes and some to spare do not fit on the disk of `folder`."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < size + SPARE_BYTES:
        raise PermanentFailure(
            f"{what} needs up to {size / 1e6:.0f} MB and {SPARE_BYTES / 1e6:.0f} MB to spare; on the disk of {there} "
            f"{free / 1e6:.0f} MB are free: make room, or name a folder on another disk"
        )
