"""Triton's execution environment: one folder and one archive for each lock, built once, found again ever after.

`ensure` looks in this order: the unpacked folder under `<home>/environments`, the archive in the serving bucket, and
only then builds: py-rattler solves and installs (from conda-forge, or from a local channel made of locked wheels and
this machine's Python), the environment is warmed and verified, conda-pack packs it. A conda-forge that answers and
then fails gives way to the wheels, unless the settings insist on it.

The platform's own code is not part of it: it travels beside `model.py` (see `code.py`), so that a changed line of ours
rebuilds nothing here.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genre_assets import keys
from genre_assets.errors import DamagedObject, PermanentFailure
from genre_assets.packaging import signature
from genre_assets.packaging.environment import lock as locks
from genre_assets.packaging.environment.build import Say, build, pack, unpack
from genre_assets.packaging.environment.lock import READY, Environment, Lock, facts, read
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

ANSWER_SECONDS = 4.0


def ensure(settings: Settings, store: ObjectStore, say: Say = lambda _: None) -> Environment:
    """The environment of the present lock, in the folder and in the bucket, built only if it is nowhere.

    Raises `PermanentFailure` that says what to install when it cannot be built here.
    """
    lock = choose_lock(settings, store)
    try:
        return _ensure(lock, settings, store, say)
    except PermanentFailure as error:
        if settings.environment_source != "auto" or lock.source != "conda-forge":
            raise
        say(f"conda-forge answered and then failed, so the locked wheels are taken: {error}")
        return _ensure(locks.local_lock(), settings, store, say, not_forge=str(error))


def _ensure(lock: Lock, settings: Settings, store: ObjectStore, say: Say, *, not_forge: str = "") -> Environment:
    root = settings.home / "environments"
    root.mkdir(parents=True, exist_ok=True)
    folder, archive = root / lock.hash, root / f"{lock.hash}.tar.gz"
    # Published inside the lock too: who waited finds it done, and no two of us write one object in parts at once.
    with _one_at_a_time(root):
        published = store.exists(settings.serving_bucket, lock.key)
        if not (folder / READY).exists() and published:
            say(f"unpacking environment {lock.hash} from the serving bucket")
            _download(settings, store, lock.hash, folder, archive)
        elif not (folder / READY).exists():
            build(lock, folder, archive, say, forge=settings.conda_channel, not_forge=not_forge)
        environment = read(folder)
        if not published:
            if not archive.exists():
                pack(folder, archive)
            write_signature(settings, store, lock.hash, archive)
            store.upload_file(settings.serving_bucket, lock.key, archive)
            store.write_json(settings.serving_bucket, lock.key.replace(".tar.gz", ".json"), facts(environment))
    return environment


def fetch(settings: Settings, store: ObjectStore, lock_hash: str) -> Path:
    """The unpacked folder of an environment that was published: the one here, or the one in the serving bucket.

    Whoever loads a release wants the environment that it was built for, whichever the present lock is. Raises
    `PermanentFailure` if the archive is not signed as it should be, and `FileNotFoundError` if there is none.
    """
    root = settings.home / "environments"
    root.mkdir(parents=True, exist_ok=True)
    folder, archive = root / lock_hash, root / f"{lock_hash}.tar.gz"
    if not (folder / READY).exists():
        with _one_at_a_time(root):
            if not (folder / READY).exists():
                _download(settings, store, lock_hash, folder, archive)
    return folder


def write_signature(settings: Settings, store: ObjectStore, lock_hash: str, archive: Path) -> None:
    """Sign an archive that is published, if we have a key."""
    if signed := signature.sign(settings, signature.of_archive(lock_hash, sha256(archive))):
        store.write_json(settings.serving_bucket, keys.environment_signature(lock_hash), signed)


def _download(settings: Settings, store: ObjectStore, lock_hash: str, folder: Path, archive: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    store.download_file(settings.serving_bucket, keys.environment(lock_hash), archive)
    try:
        given = store.read_json(settings.serving_bucket, keys.environment_signature(lock_hash))
    except FileNotFoundError:
        given = None
    except DamagedObject:
        given = "damaged"
    content = signature.of_archive(lock_hash, sha256(archive))
    try:
        signature.verify(settings, content, given, f"the archive of environment {lock_hash}")
    except PermanentFailure:
        archive.unlink()
        raise
    unpack(archive, folder)


def sha256(path: Path) -> str:
    """Of an archive, whatever its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_lock(settings: Settings, store: ObjectStore) -> Lock:
    """The lock that holds: what is here already is kept, then what is in the bucket, whichever source it came from."""
    made = {"conda-forge": locks.conda_forge_lock, "local": locks.local_lock}
    if settings.environment_source != "auto":
        return made[settings.environment_source]()
    forge, local = (make() for make in made.values())
    for lock in (forge, local):
        if (settings.home / "environments" / lock.hash / READY).exists():
            return lock
    for lock in (forge, local):
        if store.exists(settings.serving_bucket, lock.key):
            return lock
    return forge if _answers(settings.conda_channel) else local


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two processes that want the same environment must not build it into each other."""
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(url: str) -> bool:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(f"{url}/noarch/repodata.json.zst", method="HEAD"), timeout=ANSWER_SECONDS):  # noqa: S310  # a setting
            return True
    except (URLError, OSError):
        return False
