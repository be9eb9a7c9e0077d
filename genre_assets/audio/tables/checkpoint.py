"""Work that an interrupted run had done, kept beside the tables, so that the next run does not do it again.

The tables themselves are written only when they are complete. A checkpoint is a Parquet file like any other, written
every minute and removed at the end; losing one costs time, never a row.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from genre_assets import keys
from genre_assets.errors import DamagedObject, GenreError
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

SAVE_SECONDS = 60.0


@contextmanager
def saving(save: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Save when the block ends by any exception; it is given a function that saves if that is `SAVE_SECONDS` ago."""
    saved = time.monotonic()

    def save_if_due() -> None:
        nonlocal saved
        if time.monotonic() - saved >= SAVE_SECONDS:
            save()
            saved = time.monotonic()

    try:
        yield save_if_due
    except BaseException:
        with suppress(GenreError):  # the object store may be what failed
            save()
        raise


class Checkpoint:
    """Rows of one kind (`name`)."""

    def __init__(self, store: ObjectStore, settings: Settings, name: str) -> None:
        self.store, self.bucket, self.key = store, settings.features_bucket, keys.checkpoint(name)
        self.written = False

    def rows(self) -> list[dict[str, Any]]:
        """What an interrupted run left."""
        try:
            frame = self.store.read_parquet(self.bucket, self.key)
        except (FileNotFoundError, DamagedObject):
            return []
        self.written = True
        return records(frame)

    def save(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace what is kept."""
        import pandas as pd

        self.store.write_parquet(self.bucket, self.key, pd.DataFrame(list(rows)))
        self.written = True
        reached(Step.FEATURES_CHECKPOINT)

    def remove(self) -> None:
        """Forget: the tables are written."""
        if self.written:
            self.store.delete(self.bucket, self.key)


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
