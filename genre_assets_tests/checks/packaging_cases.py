"""Execution environments and gates on which the checks of the packaging stage must fail."""

import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from genre_assets import keys
from genre_assets.packaging import publish
from genre_assets.packaging.environment import interpreter
from genre_assets.packaging.environment import lock as locks
from genre_assets_tests.checks.world import Case, World

VERSIONS = {"numpy": "1.26.4", "scipy": "1.15.0"}
IMPORTS = {"python": "3.11.9", "prefix": "/", "versions": VERSIONS}


def root(world: World) -> Path:
    return world.settings.home / "environments"


def built(world: World) -> None:
    """The least that is an environment of the present lock: a Python that says what it imports, the stub's library, facts."""
    lock, found = locks.local_lock(), interpreter.find()
    assert found is not None, "no Python here can be embedded"
    folder = root(world) / lock.hash
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / found.library.name).symlink_to(found.library)
    python(folder, f"echo '{json.dumps(IMPORTS)}'")
    facts = {"lock": asdict(lock), "python": found.version, "versions": VERSIONS, "packages": [], "built_s": {}}
    (folder / locks.READY).write_text(json.dumps(facts))


def python(folder: Path, line: str) -> None:
    """An interpreter that does one thing, whatever it is asked."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "python3").write_text(f"#!/bin/sh\n{line}\n")
    (folder / "bin" / "python3").chmod(0o755)


def fact(name: str, value: object) -> Callable[[World], None]:
    """An environment with another fact."""

    def spoil(world: World) -> None:
        path = root(world) / locks.local_lock().hash / locks.READY
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return spoil


def import_that_fails(world: World) -> None:
    python(root(world) / locks.local_lock().hash, "echo 'No module named av' >&2; exit 1")


def removed(world: World) -> None:
    shutil.rmtree(root(world))


def only_in_the_bucket(world: World) -> None:
    """As another machine has left it: packed, with the script that conda-pack adds."""
    lock = locks.local_lock()
    (root(world) / lock.hash / "bin" / "conda-unpack").touch()
    archive = world.folder / "packed.tar.gz"
    with tarfile.open(archive, "w:gz", dereference=True) as tar:
        tar.add(root(world) / lock.hash, arcname=".")
    world.store.upload_file(world.settings.serving_bucket, f"environments/{lock.hash}.tar.gz", archive)
    removed(world)


def gate(world: World) -> None:
    """What the gate recorded of a release that answers as offline."""
    compared = {"clip": "a.wav", "version": 3, "offline": "rock", "served": "rock", "difference": 1e-7}
    report = {
        "release": "r1", "passed": True, "problem": "", "tolerance": 1e-5, "largest_difference": 1e-7,
        "comparisons": [compared, {**compared, "version": 4}],
    }  # fmt: skip
    world.store.write_json(world.settings.serving_bucket, keys.PARITY, report)


def recorded(**changes: object) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        bucket = world.settings.serving_bucket
        world.store.write_json(bucket, keys.PARITY, {**world.store.read_json(bucket, keys.PARITY), **changes})

    return spoil


def answered(**changes: object) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        compared = publish.read_parity(world.settings, world.store)["comparisons"]
        recorded(comparisons=[compared[0], {**compared[1], **changes}])(world)

    return spoil


CASES: Sequence[Case] = [
    Case("conda_pack:interpreter_matches_the_stub", built, fact("python", "3.7.1"), "no stub for Python 3.7", stops=True),
    Case("conda_pack:interpreter_matches_the_stub", built, removed, "holds no finished environment; materialise", stops=True),
    Case("conda_pack:numpy_fits_the_server", built, fact("versions", {"numpy": "2.1.0"}), "numpy 2.1.0; the server needs numpy<2", stops=True),
    Case("conda_pack:numpy_fits_the_server", built, fact("versions", {}), "numpy not at all", stops=True),
    Case("conda_pack:numpy_fits_the_server", built, removed, "holds no finished environment; materialise", stops=True),
    Case("conda_pack:every_import_works", built, import_that_fails, "No module named av", stops=True),
    Case("conda_pack:every_import_works", built, removed, "holds no finished environment; materialise", stops=True),
    Case("triton_repo:golden_clips_agree", gate, answered(served="pop"), r"a\.wav by version 4: rock offline, pop served", stops=True),
    Case("triton_repo:golden_clips_agree", gate, answered(difference=2e-5), r"a\.wav by version 4: .*2\.0e-05 apart", stops=True),
    Case("triton_repo:golden_clips_agree", gate, recorded(comparisons=[]), "no clip was compared", stops=True),
    Case("triton_repo:golden_clips_agree", gate, recorded(problem="it does not start"), "it does not start", stops=True),
]  # fmt: skip
