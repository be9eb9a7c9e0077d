"""The watchdog: a model whose stub died is loaded again, once, until it works; healthy ones are left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets import processes
from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.stack.services import triton_watchdog
from genre_assets.stack.services.triton_watchdog import Watchdog, model_of
from genre_assets.triton.control import TritonControl
from genre_assets_tests.waiting import until

# A parent that never reaps its children, as the server.
SERVER = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", a]) for a in sys.argv[1:]]
print(*[c.pid for c in children], flush=True)
time.sleep(60)
"""


class Loads(TritonControl):
    """Remembers what it was told to load; fails on demand."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1")
        self.models: list[str] = []
        self.failing = 0

    def load(self, model: str) -> None:
        self.models.append(model)
        if self.failing:
            self.failing -= 1
            raise PermanentFailure("not now")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, list[int]]]:
    """(server, stubs): two of pre_processor and one of predictor."""
    for model, version in (("pre_processor", "1"), ("predictor", "3"), ("predictor", "4")):
        (tmp_path / model / version).mkdir(parents=True)
        (tmp_path / model / version / "model.py").touch()
    models = [tmp_path / name / "model.py" for name in ("pre_processor/1", "pre_processor/1", "predictor/3")]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *map(str, models)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    stubs = [int(pid) for pid in process.stdout.readline().split()]

    def all_are_seen() -> bool:  # the kernel's list of children may miss one while others come and go
        seen = {pid for pid, _, words in processes.children(process.pid) if model_of(words)}
        return set(stubs) <= seen

    until(all_are_seen, "every stub has its command line", 20)
    yield process.pid, stubs
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def watchdog(tmp_path: Path) -> Watchdog:
    return Watchdog(tmp_path, Loads())


def state(server: int, pid: int) -> str:
    return {p: s for p, s, _ in processes.children(server)}[pid]


def kill(server: int, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(server, pid) == "Z", "the stub is dead", 10)


def test_healthy_stubs_are_left_alone(watchdog: Watchdog, server: tuple[int, list[int]]) -> None:
    assert watchdog.revive(server[0]) == []


def test_a_dead_stubs_model_is_loaded_again_once(
    watchdog: Watchdog, server: tuple[int, list[int]], tmp_path: Path
) -> None:
    pid, stubs = server
    watchdog.revive(pid)
    files = [tmp_path / "predictor" / version / "model.py" for version in ("3", "4")]
    before = [file.stat().st_mtime_ns for file in files]
    kill(pid, stubs[2])
    # The kernel's list of children may miss one while others come and go; the watchdog looks every second.
    until(lambda: watchdog.revive(pid) == ["predictor"], "the stub is revived", 10)
    assert all(file.stat().st_mtime_ns > was for file, was in zip(files, before, strict=True))
    assert watchdog.revive(pid) == []


def test_a_stub_that_died_before_it_was_seen_is_revived(watchdog: Watchdog, server: tuple[int, list[int]]) -> None:
    pid, stubs = server
    until(lambda: watchdog.living(pid) == {"pre_processor": 2, "predictor": 1}, "all are seen", 10)
    watchdog.revive(pid)
    del watchdog._models[stubs[2]]  # as if the last look had been before its start
    kill(pid, stubs[2])
    until(lambda: watchdog.revive(pid) == ["predictor"], "the stub is revived", 10)
    assert watchdog.revive(pid) == []


def test_a_dead_stub_of_a_release_on_its_way_out_is_left_alone(
    watchdog: Watchdog, server: tuple[int, list[int]], tmp_path: Path
) -> None:
    """Its model is in no repository any more: a load could only fail, and the server would be restarted for it."""
    pid, stubs = server
    watchdog.revive(pid)
    (tmp_path / "predictor").rename(tmp_path / "predictor_0123abcd")
    kill(pid, stubs[2])
    assert watchdog.revive(pid) == []
    assert isinstance(watchdog.control, Loads)
    assert watchdog.control.models == []
    (tmp_path / "predictor_0123abcd").rename(tmp_path / "predictor")  # the new one was taken back
    assert watchdog.revive(pid) == ["predictor"]


def test_a_load_that_fails_is_tried_again(watchdog: Watchdog, server: tuple[int, list[int]]) -> None:
    pid, stubs = server
    watchdog.revive(pid)
    assert isinstance(watchdog.control, Loads)
    watchdog.control.failing = 1
    kill(pid, stubs[2])
    assert watchdog.revive(pid) == []
    assert watchdog.revive(pid) == ["predictor"]
    assert watchdog.control.models == ["predictor", "predictor"]


def test_the_surviving_old_stub_is_ended_only_after_its_time(
    watchdog: Watchdog, server: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, stubs = server
    watchdog.revive(pid)
    kill(pid, stubs[0])
    assert watchdog.revive(pid) == ["pre_processor"]
    watchdog.revive(pid)
    assert state(pid, stubs[1]) != "Z"
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + triton_watchdog.LINGER_SECONDS + 1)
    assert watchdog.revive(pid) == []
    monkeypatch.undo()
    until(lambda: state(pid, stubs[1]) == "Z", "the stub is dead", 10)
    assert watchdog.revive(pid) == []
    assert state(pid, stubs[2]) != "Z"


def test_a_stopped_stub_is_ended_and_revived(watchdog: Watchdog, server: tuple[int, list[int]]) -> None:
    pid, stubs = server
    watchdog.revive(pid)
    assert watchdog.living(pid) == {"pre_processor": 2, "predictor": 1}
    os.kill(stubs[2], signal.SIGSTOP)
    until(lambda: watchdog.revive(pid) == ["predictor"], "the stopped stub is revived", 20)
    assert watchdog.living(pid) == {"pre_processor": 2}  # this server makes no new one


def test_a_stub_that_died_before_anyone_looked_is_revived_too(
    watchdog: Watchdog, server: tuple[int, list[int]]
) -> None:
    """A dead process has no command line, so the models that have no living one are loaded again, once."""
    pid, stubs = server
    kill(pid, stubs[0])
    kill(pid, stubs[1])
    until(lambda: watchdog.revive(pid) == ["pre_processor"], "the model without a process is loaded again", 20)
    assert watchdog.revive(pid) == []


def test_loads_that_go_on_failing_call_for_a_restart_of_the_server(
    watchdog: Watchdog, server: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, stubs = server
    watchdog.revive(pid)
    assert isinstance(watchdog.control, Loads)
    watchdog.control.failing = 1_000_000
    monkeypatch.setattr(triton_watchdog, "GIVE_UP_SECONDS", 0.3)
    kill(pid, stubs[2])

    def gives_up() -> bool:
        try:
            watchdog.revive(pid)
        except TransientFailure as error:
            return "predictor lost a process and cannot be loaded: not now" in str(error)
        return False

    until(gives_up, "it gives up", 10)
