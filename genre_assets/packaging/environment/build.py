"""Making an environment: solved and installed by py-rattler, warmed, verified, and packed by conda-pack."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment import debian_python, interpreter
from genre_assets.packaging.environment.lock import DEFINITION, READY, Environment, Lock, facts
from genre_assets.packaging.environment.wheels import download_wheels
from genre_assets.triton import binary

FORGE_SECONDS = 1200.0  # to solve and install from a channel on the network; beyond it the channel is taken to hang

# Runs inside the environment: every import that the Triton models make, and the facts that the checks look at.
_WARM = """
import json, sys
import numpy, scipy, scipy.fft, scipy.signal, scipy.ndimage, scipy.stats, soundfile, av, onnxruntime, psycopg2, psycopg2.extras
import boto3, botocore.config, pydantic, pydantic_settings
boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
versions = {m.__name__: m.__version__ for m in (numpy, scipy, soundfile, av, onnxruntime, psycopg2, boto3, pydantic)}
print(json.dumps({"python": sys.version.split()[0], "prefix": sys.prefix, "versions": versions}))
"""

Say = Callable[[str], None]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack to a new folder, whole or not at all.

    By the system's `tar`, which takes no path that leads out of the folder: Debian 12's Python has no filter for that.
    Raises `PermanentFailure` for a damaged archive.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    command = ["tar", "--extract", "--no-same-owner", "--file", str(archive), "--directory", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PermanentFailure(f"{archive.name} cannot be unpacked: {done.stderr.strip()[-500:]}")
    partial.rename(folder)
    conda_unpack = folder / "bin" / "conda-unpack"
    subprocess.run([folder / "bin" / "python3", conda_unpack], check=True, capture_output=True)


def pack(folder: Path, archive: Path) -> None:
    """Pack the environment, as conda-pack does for any conda prefix."""
    import conda_pack

    partial = archive.with_name(f"{archive.name}.part.tar.gz")  # a name of its own: conda-pack tells the format by it
    partial.unlink(missing_ok=True)
    conda_pack.pack(prefix=str(folder), output=str(partial), compress_level=1, n_threads=-1)
    partial.replace(archive)
    # conda-pack puts its activation script into the archive only; Triton wants it in the folder as well.
    script = Path(conda_pack.__file__).parent / "scripts" / "posix" / "activate"
    shutil.copyfile(script, folder / "bin" / "activate")


def warm(folder: Path) -> dict[str, Any]:
    """Import in the environment whatever the models import; returns its facts. Raises `PermanentFailure`."""
    variables = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(folder / "lib")}
    done = subprocess.run(
        [folder / "bin" / "python3", "-c", _WARM], capture_output=True, text=True, env=variables, cwd="/", check=False
    )
    if done.returncode:
        raise PermanentFailure(
            f"the execution environment does not import what the models need: {done.stderr.strip()[-800:]}"
        )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def build(lock: Lock, folder: Path, archive: Path, say: Say, *, forge: str, not_forge: str = "") -> None:
    """Build, warm and pack; a build that fails leaves nothing behind. Raises `PermanentFailure`.

    `forge` is the address of conda-forge or of a mirror; `not_forge` says why it is not used although it answered.
    """
    shutil.rmtree(folder, ignore_errors=True)
    seconds: dict[str, float] = {}

    def step(name: str, since: float) -> float:
        seconds[name] = round(time.monotonic() - since, 2)
        return time.monotonic()

    work = folder.with_name(f"{folder.name}.build")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    start = time.monotonic()
    try:
        say(f"building the execution environment {lock.hash} from {lock.source}")
        channel = forge if lock.source == "conda-forge" else local_channel(work, say)
        start = step("channel", start)
        specs = yaml.safe_load((DEFINITION / "environment.yaml").read_text())["dependencies"]
        packages = asyncio.run(_solve_and_install(channel, specs, folder, work / "cache"))
        start = step("install", start)
        known = warm(folder)
        _add_stub_libraries(folder, known["python"])
        start = step("warm", start)
        ready = Environment(lock, folder, archive, known["python"], known["versions"], packages, seconds, not_forge)
        (folder / READY).write_text(json.dumps(facts(ready), indent=1))
        pack(folder, archive)
        step("pack", start)
        (folder / READY).write_text(json.dumps(facts(ready), indent=1))
        say(f"built {lock.hash} in {sum(seconds.values()):.0f} s")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def local_channel(work: Path, say: Say) -> str:
    """Make the channel of locked wheels and a relocatable Python under `work`; returns its address."""
    from genre_assets.packaging.environment.channel import build_channel

    python = interpreter.find() or debian_python.fetch(work / "debian", say)
    say(f"Python {python.version} ({python.origin}); fetching the locked wheels")
    wheels = download_wheels(DEFINITION / "wheels.lock", python.minor, work / "wheels")
    build_channel(work / "channel", python, wheels)
    return (work / "channel").as_uri()


async def _solve_and_install(channel: str, specs: list[str], folder: Path, cache: Path) -> list[str]:
    from rattler import VirtualPackage, install, solve

    try:
        async with asyncio.timeout(FORGE_SECONDS):
            records = await solve(sources=[channel], specs=specs, virtual_packages=VirtualPackage.detect())
            await install(records, target_prefix=folder, cache_dir=cache, show_progress=False)
    except TimeoutError as error:
        raise PermanentFailure(f"{channel} gave no environment in {FORGE_SECONDS:.0f} s") from error
    except Exception as error:  # the library has many kinds of its own, and plain ones
        raise PermanentFailure(f"no environment from {channel}: {' '.join(str(error).split())[:500]}") from error
    (folder / "conda-meta" / "history").touch()  # conda-pack knows a conda environment by this file
    return sorted(f"{r.name.normalized}-{r.version}-{r.build}" for r in records)


def _add_stub_libraries(folder: Path, python: str) -> None:
    """Put what the stub needs and only the server's wheel has beside the environment's own libraries.

    Triton starts the stub with the environment's libraries first, so a container that lacks them can start it too.
    """
    stub = binary.stub(".".join(python.split(".")[:2]))
    for name in binary.needed_libraries(stub):
        source = binary.libraries() / name
        if source.exists():
            shutil.copy2(source, folder / "lib" / name)
