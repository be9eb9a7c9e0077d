"""A Triton of its own for a moment: for the parity gate, tests and benchmarks.

On free ports, in a temporary state folder, with a token of its own; it sees neither the stack's settings nor its
prediction log. The kernel ends it with the process that started it, and `genre-assets down` finds it.
"""

import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import PermanentFailure
from genre_assets.processes import MARKER, dies_with_parent
from genre_assets.triton import binary
from genre_assets.triton.control import TritonControl
from genre_assets.triton.leftovers import SCRATCH, remove_orphans, remove_shared_memory

START_SECONDS = 60.0


@dataclass(frozen=True)
class Scratch:
    """A running scratch server."""

    control: TritonControl
    listen: binary.Listen
    pid: int

    @property
    def grpc(self) -> str:
        """`host:port`."""
        return f"{self.listen.host}:{self.listen.grpc}"


@contextmanager
def scratch_triton(
    repository: Path,
    model: str,
    *,
    variables: Mapping[str, str] | None = None,
    ports: tuple[int, int, int] | None = None,
    start_seconds: float = START_SECONDS,
) -> Iterator[Scratch]:
    """Serve `model` of a repository until the end of the block.

    Raises `PermanentFailure` with the server's own words if the model does not load.
    """
    http, grpc, metrics = ports or _free_ports()
    listen = binary.Listen("127.0.0.1", http, grpc, metrics)
    token = secrets.token_urlsafe(24)
    remove_orphans()
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        log = home / "triton.log"
        command = binary.command(
            repository, binary.stage_backends(home / "backends"), listen, token=token, load=(model,)
        )
        outside = {name: value for name, value in os.environ.items() if name == MARKER or not name.startswith("GENRE_")}
        environment = {**outside, **binary.environment(), "GENRE_HOME": folder, **(variables or {})}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*dies_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,  # the stubs import from the working folder first: never a source tree
                start_new_session=True,
            )
        try:
            control = TritonControl(f"127.0.0.1:{http}", token)
            _wait(process, control, model, log, start_seconds)
            binary.hide_token(process.pid, token)
            yield Scratch(control, listen, process.pid)
        finally:
            _stop(process)
            remove_shared_memory(http)


def _wait(process: "subprocess.Popen[bytes]", control: TritonControl, model: str, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not control.ready(model):
        why = (
            [e.get("reason", "") for e in control.index() if e.get("state") == "UNAVAILABLE"] if control.live() else []
        )
        if any(why):
            raise PermanentFailure(f"{model} does not load: {'; '.join(filter(None, why))}")
        if process.poll() is not None or time.monotonic() > end:
            state = (
                f"ended with {process.returncode}"
                if process.poll() is not None
                else f"is not ready after {seconds:.0f} s"
            )
            raise PermanentFailure(f"the scratch Triton {state}: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """The whole session: stubs outlive a killed server."""
    process.terminate()
    try:
        process.wait(binary.EXIT_SECONDS + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        return  # nobody is left


def _free_ports() -> tuple[int, int, int]:
    """Three ports that are free now."""
    sockets = [socket.socket() for _ in range(3)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        http, grpc, metrics = (s.getsockname()[1] for s in sockets)
        return http, grpc, metrics
    finally:
        for s in sockets:
            s.close()
