"""Where audio can be taken from: a folder of this machine, or a prefix of another bucket."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from genre_assets.audio.decoding import sandbox
from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore


class Source(Protocol):
    """Files with names below one place."""

    @property
    def title(self) -> str: ...  # noqa: D102  # as messages name it

    def names(self) -> list[PurePosixPath]:
        """Every file below it but hidden ones, by its path from there, in order. Raises `BadInput` if it is not there."""

    def read(self, name: PurePosixPath) -> bytes:
        """The whole file."""

    def tags(self, name: PurePosixPath) -> dict[str, str]:
        """What the file says of itself (artist, album), where that costs no transfer."""

    def is_same(self, name: PurePosixPath, there: ObjectInfo, store: ObjectStore, bucket: str) -> bool:
        """Whether the object that is `there` in the bucket has the bytes of the file."""

    def send(self, name: PurePosixPath, store: ObjectStore, bucket: str, key: str) -> None:
        """Put the file into the bucket."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path

    @property
    def title(self) -> str:
        """Its path."""
        return str(self.path)

    def names(self) -> list[PurePosixPath]:
        """See `Source`."""
        if not self.path.is_dir():
            raise BadInput(f"there is no folder {self.path}")
        files = (path.relative_to(self.path) for path in sorted(self.path.rglob("*")) if path.is_file())
        return [PurePosixPath(path.as_posix()) for path in files if not path.name.startswith(".")]

    def read(self, name: PurePosixPath) -> bytes:
        """See `Source`."""
        return (self.path / name).read_bytes()

    def tags(self, name: PurePosixPath) -> dict[str, str]:
        """See `Source`; read in a decoder process."""
        return sandbox.tags(self.path / name)

    def is_same(self, name: PurePosixPath, there: ObjectInfo, store: ObjectStore, bucket: str) -> bool:
        """By the ETag, which is the MD5 of what was sent in one part to most S3 servers; else by the bytes."""
        path = self.path / name
        if path.stat().st_size != there.size:
            return False
        return _has_etag(path, there.etag) or store.get_bytes(bucket, there.key) == path.read_bytes()

    def send(self, name: PurePosixPath, store: ObjectStore, bucket: str, key: str) -> None:
        """Upload, in parts when it is large."""
        store.upload_file(bucket, key, self.path / name)


@dataclass(frozen=True)
class Prefix:
    """A prefix of another bucket of the same S3; its objects are copied there, not sent through this machine."""

    store: ObjectStore
    bucket: str
    prefix: str

    @property
    def title(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.prefix}"

    @cached_property
    def _listed(self) -> dict[PurePosixPath, ObjectInfo]:
        below = f"{self.prefix}/" if self.prefix else ""
        return {PurePosixPath(o.key.removeprefix(below)): o for o in self.store.list(self.bucket, below)}

    def names(self) -> list[PurePosixPath]:
        """See `Source`."""
        if not self.store.has_bucket(self.bucket):
            raise BadInput(f"there is no bucket {self.bucket}")
        if not self._listed:
            raise BadInput(f"nothing is below {self.title}")
        return [name for name in self._listed if not name.name.startswith(".")]

    def read(self, name: PurePosixPath) -> bytes:
        """See `Source`."""
        return self.store.get_bytes(self.bucket, self._listed[name].key)

    def tags(self, name: PurePosixPath) -> dict[str, str]:  # noqa: ARG002
        """See `Source`; none, since the objects are copied by the server."""
        return {}

    def is_same(self, name: PurePosixPath, there: ObjectInfo, store: ObjectStore, bucket: str) -> bool:  # noqa: ARG002
        """By size and ETag alone. What was copied in other parts than it was sent has another: it is copied once more."""
        mine = self._listed[name]
        return (mine.size, mine.etag) == (there.size, there.etag)

    def send(self, name: PurePosixPath, store: ObjectStore, bucket: str, key: str) -> None:
        """Let the server copy."""
        store.copy(self.bucket, self._listed[name].key, bucket, key)


def source_of(place: str, store: ObjectStore, settings: Settings) -> Source:
    """What a person wrote: a folder, or `s3://bucket/prefix`. Raises `BadInput` for the raw bucket itself."""
    if not place.startswith("s3://"):
        return Folder(Path(place).expanduser())
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if not bucket:
        raise BadInput(f"not an S3 address: {place!r} (expected s3://bucket/prefix)")
    if bucket == settings.raw_bucket:
        raise BadInput(f"{place} is in the raw bucket already: the sensor takes what lies there under <genre>/")
    return Prefix(store, bucket, prefix.strip("/"))


def _has_etag(path: Path, etag: str) -> bool:
    if len(etag) != 32:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == etag
