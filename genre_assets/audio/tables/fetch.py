"""An object of the raw bucket at hand, in constant memory: small ones as bytes, large ones as a temporary file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

IN_MEMORY = 16_000_000  # bytes


@contextmanager
def fetched(store: ObjectStore, settings: Settings, key: str, size: int) -> Iterator[bytes | Path]:
    """The object's content, for the time of the block. Raises `FileNotFoundError` if it is not there.

    Temporary files are in the state folder, and gone after the block.
    """
    if size <= IN_MEMORY:
        yield store.get_bytes(settings.raw_bucket, key)
        return
    scratch = settings.home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "object"
        store.download_file(settings.raw_bucket, key, path)
        yield path
