"""The execution environment as it is now, for the checks: nothing is built, published or kept by looking at it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genre_assets.packaging.environment.build import unpack
from genre_assets.packaging.environment.conda import choose_lock
from genre_assets.packaging.environment.lock import READY, Environment, read
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@contextmanager
def as_it_is(settings: Settings, store: ObjectStore) -> Iterator[Environment]:
    """The environment of the present lock: its folder, or else the bucket's archive, unpacked until the end of the block.

    A machine that did not build it may have the archive only. Raises `PermanentFailure` if it is in neither place.
    """
    lock = choose_lock(settings, store)
    folder = settings.home / "environments" / lock.hash
    if (folder / READY).exists() or not store.exists(settings.serving_bucket, lock.key):
        yield read(folder)
        return
    with tempfile.TemporaryDirectory(prefix="genre_look_") as scratch:
        archive, folder = Path(scratch) / f"{lock.hash}.tar.gz", Path(scratch) / lock.hash
        store.download_file(settings.serving_bucket, lock.key, archive)
        unpack(archive, folder)
        yield read(folder)
