"""One file must never stop the others: not by crashing its worker, not by hanging it."""

import os
import time

import pytest

from genre_assets.audio.workers.pool import Lost, map_files, process_count
from genre_assets.errors import TransientFailure
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def behave(store: ObjectStore, task: str) -> str:
    if task == "crash":
        os.abort()
    if task == "hang":
        time.sleep(60)
    if task == "away":
        raise TransientFailure("S3 is away")
    return task.upper()


def test_every_task_gets_its_own_result(settings: Settings) -> None:
    tasks = [f"file {i}" for i in range(20)]
    two = settings.model_copy(update={"workers": 2})
    assert dict(map_files(behave, tasks, settings=two)) == {task: task.upper() for task in tasks}


def test_a_crash_is_blamed_on_its_file_alone(settings: Settings) -> None:
    results = dict(map_files(behave, ["a", "crash", "b"], settings=settings))
    assert (results["a"], results["b"]) == ("A", "B")
    assert isinstance(results["crash"], Lost)


def test_a_file_that_hangs_is_given_up(settings: Settings) -> None:
    started = time.monotonic()
    results = dict(map_files(behave, ["hang", "a"], settings=settings, task_seconds=0.4))
    assert isinstance(results["hang"], Lost)
    assert results["a"] == "A"
    assert time.monotonic() - started < 15


def test_a_failure_of_the_platform_is_raised_and_not_blamed_on_a_file(settings: Settings) -> None:
    with pytest.raises(TransientFailure, match="S3 is away"):
        list(map_files(behave, ["a", "away"], settings=settings))


def test_there_are_never_more_processes_than_files() -> None:
    assert process_count(8, 3) == 3
    assert process_count(2, 100) == 2
    assert process_count(0, 100) == len(os.sched_getaffinity(0))
