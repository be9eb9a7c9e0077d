"""Releases in the serving bucket: upload whole, name the newest, fetch, forget the old."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.parity import Parity
from genre_assets.packaging.release import Release
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

PREFIX = "releases/"
CURRENT = "releases/current.json"
PARITY = "releases/parity.json"


def is_accepted(settings: Settings, store: ObjectStore, release: Release) -> bool:
    """Whether this release has passed the gate and is the newest one in the bucket."""
    try:
        newest, gate = store.read_json(settings.serving_bucket, CURRENT), read_parity(settings, store)
    except FileNotFoundError:
        return False
    return bool(newest["id"] == gate["release"] == release.id and gate["passed"])


def offer(settings: Settings, store: ObjectStore, release: Release, parity: Parity, folder: Path) -> None:
    """Record what the gate found, and publish the release if it passed."""
    report = {**parity.to_json(), "release": release.id, "largest_difference": parity.largest_difference}
    store.write_json(settings.serving_bucket, PARITY, report)
    if parity.passed:
        publish(settings, store, release, folder)
        remove_old(settings, store, settings.releases_kept)


def publish(settings: Settings, store: ObjectStore, release: Release, folder: Path) -> None:
    """Upload the release, its manifest last, and only then name it the newest."""
    bucket = settings.serving_bucket
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: store.upload_file(bucket, _key(release, path), folder / path), release.files))
    store.write_json(bucket, _key(release, "release.json"), release.to_json())
    store.write_json(bucket, CURRENT, {"id": release.id, "created": release.created})


def fetch(settings: Settings, store: ObjectStore, release: Release, folder: Path) -> None:
    """Download the release to a new folder, whole or not at all. Raises `PermanentFailure` for a damaged file."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)

    def download(entry: tuple[str, str]) -> None:
        path, expected = entry
        store.download_file(settings.serving_bucket, _key(release, path), partial / path)
        if hashlib.sha256((partial / path).read_bytes()).hexdigest() != expected:
            raise PermanentFailure(
                f"{_key(release, path)} in the serving bucket is damaged; materialise triton_repo again"
            )
        if path.endswith("python_backend_stub"):
            (partial / path).chmod(0o755)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(download, release.files.items()))
    store.download_file(settings.serving_bucket, _key(release, "release.json"), partial / "release.json")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def remove_old(settings: Settings, store: ObjectStore, keep: int) -> list[str]:
    """Remove all but the newest release and `keep` others from the bucket; returns the ids removed."""
    bucket = settings.serving_bucket
    manifests = [o for o in store.list(bucket, PREFIX) if o.key.count("/") == 2 and o.key.endswith("/release.json")]
    manifests.sort(key=lambda o: o.last_modified, reverse=True)
    removed = []
    for manifest in manifests[keep + 1 :]:
        folder = manifest.key.removesuffix("release.json")
        store.delete(bucket, manifest.key)  # first: without it the rest is no release
        for entry in list(store.list(bucket, folder)):
            store.delete(bucket, entry.key)
        removed.append(folder.split("/")[1])
    return removed


def _key(release: Release, path: str) -> str:
    return f"{PREFIX}{release.id}/{path}"


def read_parity(settings: Settings, store: ObjectStore) -> dict[str, Any]:
    """The gate's findings on the release that was built last. Raises `FileNotFoundError` before the first."""
    report: dict[str, Any] = store.read_json(settings.serving_bucket, PARITY)
    return report
