"""When stubs are replaced for the memory that they hold, and how often."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.stack.services.triton_memory import LONGEST_PAUSE, PAUSE_SECONDS, QUIET_SECONDS, Recycler
from genre_assets.triton.control import TritonControl
from genre_assets.triton.leftovers import SHARED_MEMORY
from genre_assets_tests.waiting import until

# A server with a stub that maps a file, as Triton's do.
STUB = "import mmap, sys, time; f = open(sys.argv[2], 'r+b'); m = mmap.mmap(f.fileno(), 4096); print('mapped', flush=True); time.sleep(60)"
SERVER = "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', sys.argv[1], *sys.argv[2:]]); time.sleep(60)"


class Loads(TritonControl):
    """Remembers what it was told to load; refuses on demand."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1")
        self.models: list[str] = []
        self.refusing = False

    def load(self, model: str) -> None:
        self.models.append(model)
        if self.refusing:
            raise PermanentFailure("not now")


class Stub:
    """A pre_processor with one file of shared memory."""

    def __init__(self, repository: Path, file: Path) -> None:
        self.file = file
        self.grow(1)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, STUB, str(repository / "pre_processor" / "1" / "model.py"), str(file)],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "mapped\n"

    def grow(self, megabytes: int) -> None:
        self.file.write_bytes(b"x" * (megabytes * 2**20))

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.file.unlink()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "repository" / "pre_processor" / "1").mkdir(parents=True)
    (tmp_path / "repository" / "pre_processor" / "1" / "model.py").touch()
    return tmp_path / "repository"


@pytest.fixture
def stub(repository: Path) -> Iterator[Stub]:
    stub = Stub(repository, SHARED_MEMORY / f"test_{os.getpid()}_a")
    yield stub
    stub.end()


@pytest.fixture
def recycler(repository: Path) -> Recycler:
    return Recycler(repository, Loads(), f"test_{os.getpid()}_")


def recycled(recycler: Recycler, stub: Stub, seconds: range) -> list[int]:
    """The seconds at which it was replaced, looked at once in each; the kernel's list of children may miss one."""
    return [second for second in seconds if recycler.look(stub.process.pid, float(second))]


def test_a_stub_that_holds_little_is_left_alone(recycler: Recycler, stub: Stub) -> None:
    assert recycled(recycler, stub, range(200)) == []


def test_a_stub_that_grew_is_replaced_once_it_is_quiet_and_not_before_the_pause_is_over(
    recycler: Recycler, stub: Stub
) -> None:
    stub.grow(64)
    first, second = recycled(recycler, stub, range(80))
    assert QUIET_SECONDS <= first <= QUIET_SECONDS + 2
    assert PAUSE_SECONDS <= second - first <= PAUSE_SECONDS + 2


def test_where_large_requests_are_usual_the_pauses_grow_to_a_limit(recycler: Recycler, stub: Stub) -> None:
    stub.grow(64)
    times = recycled(recycler, stub, range(0, 10_000, 5))
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:3] == pytest.approx([30, 60, 120], abs=10)
    assert max(pauses) <= LONGEST_PAUSE + 10


def test_after_a_lean_while_a_large_request_is_a_rare_one_again(recycler: Recycler, stub: Stub) -> None:
    stub.grow(64)
    recycled(recycler, stub, range(0, 1000, 5))
    stub.grow(1)
    assert recycled(recycler, stub, range(1000, 2000, 5)) == []
    stub.grow(64)
    first, second = recycled(recycler, stub, range(2000, 2060))
    assert first <= 2000 + QUIET_SECONDS + 2
    assert second - first <= PAUSE_SECONDS + 2


def test_nothing_is_replaced_while_a_release_is_taken_in(recycler: Recycler, stub: Stub, repository: Path) -> None:
    stub.grow(64)
    with ModelRepository(repository).locked():
        assert recycled(recycler, stub, range(30)) == []
    assert recycled(recycler, stub, range(30, 33)) != []


def test_a_server_that_refuses_is_asked_again_after_the_pause(recycler: Recycler, stub: Stub) -> None:
    assert isinstance(recycler.control, Loads)
    recycler.control.refusing = True
    stub.grow(64)
    until(lambda: bool(recycled(recycler, stub, range(20))), "it was tried", 10)
    assert recycler.control.models == ["pre_processor"]
