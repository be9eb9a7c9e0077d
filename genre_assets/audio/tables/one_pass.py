"""The pass over what is new in the raw bucket: each object is read, hashed and decoded once, for both tables.

A worker that has an object at hand makes its row of the inventory and, in the same breath, its features. The rows of
features wait in `rows.KeptRows` until the feature table is written: that is another asset, and may be asked for later.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from genre_assets.audio.decoding.reasons import Reason
from genre_assets.audio.extract import Limits
from genre_assets.audio.tables.checkpoint import saving
from genre_assets.audio.tables.fetch import fetched
from genre_assets.audio.tables.inspect_file import Inspection, Looked, look, refused
from genre_assets.audio.tables.rows import KeptRows, Made
from genre_assets.audio.workers.pool import Lost, MapTasks, Progress
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore

Content = tuple[str, int]  # what a listing says of it: ETag and size


@dataclass(frozen=True)
class Task:
    """An object to look at, and whether its features are wanted too."""

    item: ObjectInfo
    with_features: bool


@dataclass
class Pass:
    """What came of it so far: a row of the inventory for each object that is still there."""

    rows: list[tuple[ObjectInfo, Inspection | Lost]] = field(default_factory=list)
    extracted: int = 0


def content_of(item: ObjectInfo) -> Content:
    """Two objects of one ETag and size hold the same, as far as a listing can tell."""
    return item.etag, item.size


def look_at(
    settings: Settings,
    items: Sequence[ObjectInfo],
    held: Collection[Content],
    kept: KeptRows,
    save: Callable[[Pass], object],
    progress: Progress,
    map_tasks: MapTasks,
) -> Pass:
    """Look at objects, on all cores or wherever `map_tasks` takes them.

    Features of a content that is `held` already are not computed: it was moved, or is to be looked at by other rules.
    The rows of features are `kept`, and `save` keeps those of the inventory, now and then and when it is interrupted.
    """
    done = Pass()

    def save_both() -> None:
        kept.save()  # first: what has a row of the inventory is not looked at again
        save(done)

    tasks = [Task(item, content_of(item) not in held) for item in items]
    with saving(save_both) as save_if_due:
        for task, found in map_tasks(partial(look_at_object, settings), tasks, settings=settings):
            progress.advance()
            if isinstance(found, Lost):
                done.rows.append((task.item, found))
            elif found is not None:
                done.rows.append((task.item, found.inspection))
                _keep(task.item, found, kept, done)
            save_if_due()
        kept.save()
    return done


def _keep(item: ObjectInfo, found: Looked, kept: KeptRows, done: Pass) -> None:
    if found.features is not None:
        kept.add(Made(found.inspection.fingerprint, item.key, found.features, found.seconds))
        done.extracted += 1


def look_at_object(settings: Settings, store: ObjectStore, task: Task) -> Looked | None:
    """Read an object and look at it; None if it was deleted meanwhile. Runs in a worker process."""
    item = task.item
    if item.size > settings.max_file_mb * 1e6:
        return Looked(refused(Reason.TOO_LARGE, f"{item.size / 1e6:.1f} MB, the limit is {settings.max_file_mb:g} MB"))
    try:
        with fetched(store, settings, item.key, item.size) as source:
            return look(source, Limits.from_settings(settings), settings.feature_set if task.with_features else None)
    except FileNotFoundError:
        return None
