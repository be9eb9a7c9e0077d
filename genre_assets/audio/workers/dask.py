"""Mapping a function over many files on a Dask cluster: `pool.map_files` for more than one machine.

Each batch of files is a task; the workers read from and write to the object store themselves, so that only small tasks and
results pass the scheduler. A batch that a dying worker takes with it is run again elsewhere; a file that takes
workers with it whenever it is tried is given up, alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from genre_assets.audio.workers.pool import Lost, Result, Task
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client

if TYPE_CHECKING:
    from distributed import Client

BATCH = 10  # a task costs the scheduler 1.6 ms; ten files take half a second
RETRIES = 2


def map_on_dask(
    client: "Client",
    function: Callable[[ObjectStore, Task], Result],
    tasks: Sequence[Task],
    *,
    settings: Settings,
) -> Iterator[tuple[Task, Result | Lost]]:
    """As `pool.map_files`, on the cluster of `client`.

    The same `function` and `tasks` in two runs at once are two computations: nothing is shared by name.
    """
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    def submit(batch: Sequence[Task]) -> Any:
        return client.submit(_run_batch, function, settings, list(batch), pure=False, retries=RETRIES)

    batches = {submit(tasks[i : i + BATCH]): tasks[i : i + BATCH] for i in range(0, len(tasks), BATCH)}
    completed = as_completed(list(batches))
    for future in completed:
        batch = batches.pop(future)
        try:
            results = future.result()
        except KilledWorker as error:
            if len(batch) == 1:
                yield batch[0], Lost(f"it ended {RETRIES + 1} Dask workers ({error.task})")
                continue
            for task in batch:  # one of them is to blame: each on its own
                alone = submit([task])
                batches[alone] = [task]
                completed.add(alone)
            continue
        finally:
            future.release()
        yield from zip(batch, results, strict=True)


def _run_batch(
    function: Callable[[ObjectStore, Task], Result], settings: Settings, batch: Sequence[Task]
) -> list[Result]:
    """On a Dask worker."""
    store = _store(settings)
    return [function(store, task) for task in batch]


@cache
def _store(settings: Settings) -> ObjectStore:
    """One store for each worker process."""
    return ObjectStore(s3_client(settings))
