"""Everything that dies or hangs comes back: each service of the running stack, and the processes behind them."""

import json
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from tritonclient.utils import InferenceServerException

from genre_assets.audio.decoding import sandbox_worker
from genre_assets.processes import children
from genre_assets.stack.services.triton_watchdog import model_of
from genre_assets.stack.supervision.run_files import state_file
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.protocol import PYTHON_MODELS, step_of
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.faults.test_killed_services import all_healthy, ask
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

__all__ = ["ask"]  # a fixture
pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
HEALED_SECONDS = 60.0
SERVICES = ["s3", "postgres", "mlflow", "triton", "triton-door", "dagster-code", "dagster", "dagster-daemon", "gateway"]
IN_CI = {"postgres", "triton", "dagster-daemon"}


def leader(stack: Stack, service: str) -> psutil.Process:
    """The process of a service; waited for while it is restarted."""
    found: list[psutil.Process] = []

    def there() -> bool:
        pid = json.loads(state_file(stack.settings.home).read_text())["services"][service]["pid"]
        if pid and psutil.pid_exists(pid):
            found.append(psutil.Process(pid))
        return bool(found)

    until(there, f"{service} has a process", 60)
    return found[0]


def behind(stack: Stack, service: str, words: str) -> psutil.Process:
    """A process that a service has started."""
    found: list[psutil.Process] = []

    def there() -> bool:
        try:
            children = leader(stack, service).children(recursive=True)
            found.extend(child for child in children if words in " ".join(child.cmdline()))
        except psutil.Error:
            return False  # one of them has just ended
        return bool(found)

    until(there, f"{service} has a process with {words!r}", 60)
    return found[0]


def healed(stack: Stack, faulty: psutil.Process, what: str) -> float:
    """Seconds until the faulty process is gone or at work again and every light is healthy."""
    began = time.monotonic()

    def is_gone_or_well() -> bool:
        try:
            return faulty.status() != psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return True

    until(lambda: is_gone_or_well() and all_healthy(stack), f"{what} healed", HEALED_SECONDS + 30)
    return time.monotonic() - began


@pytest.fixture(autouse=True)
def _well_before(stack: Stack) -> None:
    until(lambda: all_healthy(stack), "every light is healthy", 120)


@pytest.mark.parametrize("service", [s if s in IN_CI else pytest.param(s, marks=pytest.mark.long) for s in SERVICES])
def test_a_service_that_hangs_is_restarted(stack: Stack, service: str) -> None:
    process = leader(stack, service)
    process.suspend()
    began = time.monotonic()
    stack.command("status", check=False)
    assert time.monotonic() - began < 8  # two seconds on a quiet machine
    print(f"{service} stopped: healed in {healed(stack, process, service):.0f} s")
    until(lambda: leader(stack, service).pid != process.pid and all_healthy(stack), "another process serves", 60)


@pytest.mark.parametrize("number", [signal.SIGSTOP, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_the_code_servers_child_comes_back(stack: Stack, number: signal.Signals) -> None:
    child = behind(stack, "dagster-code", "api grpc")
    child.send_signal(number)
    until(lambda: has_ended(child), "the child is replaced", HEALED_SECONDS)
    until(lambda: behind(stack, "dagster-code", "api grpc").pid != child.pid, "another is there", HEALED_SECONDS)
    print(f"the code server's child, {number.name}: healed in {healed(stack, child, 'the child'):.0f} s")


def test_an_idle_decoder_that_was_stopped_is_ended_before_anybody_needs_it(stack: Stack) -> None:
    decoder = behind(stack, "triton", sandbox_worker.__name__)
    server = leader(stack, "triton")
    decoder.suspend()
    until(lambda: has_ended(decoder), "the decoder has ended", 20)
    with GenreClient(stack.settings.triton_grpc) as client:
        answer = client.predict([sound_file(music(3.0, seed=2), container="MP3", subtype="MPEG_LAYER_III")])[0]
    assert (answer.error, leader(stack, "triton").pid) == ("", server.pid)


def has_ended(child: psutil.Process) -> bool:
    try:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("model", PYTHON_MODELS)
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_tritons_python_processes_are_revived_after_a_restart_of_triton(
    stack: Stack, ask: Callable[[str], str], model: str, number: signal.Signals
) -> None:
    """The services before were restarted, Triton too: its files are no longer as its first start left them."""
    label = ask("before")
    server = leader(stack, "triton")
    pid = next(
        pid for pid, state, said in children(server.pid) if step_of(model_of(said) or "") == model and state != "Z"
    )
    stub = psutil.Process(pid)
    os.kill(pid, number)
    until(lambda: has_ended(stub), "the process has ended", 20)

    def answers() -> bool:
        try:
            return all(ask(f"after-{n}") == label for n in range(6))
        except (InferenceServerException, AssertionError):
            return False

    began = time.monotonic()
    until(answers, "every request is answered again", HEALED_SECONDS)
    print(f"{model}, {number.name}: healed in {time.monotonic() - began:.1f} s")
    if number is signal.SIGKILL:  # a stopped process may hold up the server so that it is restarted whole
        assert leader(stack, "triton").pid == server.pid
