"""Releases in the serving bucket: upload whole, name the newest, fetch, forget the old."""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from genre_assets import keys
from genre_assets.errors import DamagedObject, PermanentFailure
from genre_assets.packaging import signature
from genre_assets.packaging.parity import Parity
from genre_assets.packaging.release import Release
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectInfo, ObjectStore

LEFTOVER_AGE = timedelta(hours=1)  # an upload takes seconds


def is_accepted(settings: Settings, store: ObjectStore, release: Release) -> bool:
    """Whether this release has passed the gate and is the newest one in the bucket, signed as it should be."""
    try:
        newest, gate = store.read_json(settings.serving_bucket, keys.CURRENT_RELEASE), read_parity(settings, store)
        verify(settings, store, release.id)
    except (FileNotFoundError, PermanentFailure):
        return False
    return bool(newest["id"] == gate["release"] == release.id and gate["passed"])


def offer(settings: Settings, store: ObjectStore, release: Release, parity: Parity, folder: Path) -> None:
    """Record what the gate found, and publish the release if it passed."""
    report = {**parity.to_json(), "release": release.id, "largest_difference": parity.largest_difference}
    store.write_json(settings.serving_bucket, keys.PARITY, report)
    reached(Step.PUBLISH_GATE)
    if parity.passed:
        publish(settings, store, release, folder)
        remove_old(settings, store, settings.releases_kept)


def newest(settings: Settings, store: ObjectStore) -> Release:
    """The release that was named the newest. Raises `FileNotFoundError` before the first."""
    return named(settings, store, store.read_json(settings.serving_bucket, keys.CURRENT_RELEASE)["id"])


def named(settings: Settings, store: ObjectStore, identifier: str) -> Release:
    """The release of that id. Raises `FileNotFoundError` if there is none."""
    return Release.from_json(store.read_json(settings.serving_bucket, keys.release(identifier)))


def verify(settings: Settings, store: ObjectStore, identifier: str) -> tuple[Release, str]:
    """The release, if it is signed by an accepted key, and that key's fingerprint (see `signature.verify`).

    Raises `PermanentFailure` that says what is wrong with its signature, and `FileNotFoundError` if there is no such release.
    """
    manifest = store.read_json(settings.serving_bucket, keys.release(identifier))
    try:
        given = store.read_json(settings.serving_bucket, keys.release_signature(identifier))
    except FileNotFoundError:
        given = None
    except DamagedObject:
        given = "damaged"
    by = signature.verify(settings, signature.of_manifest(manifest), given, f"release {identifier}")
    return Release.from_json(manifest), by


def publish(settings: Settings, store: ObjectStore, release: Release, folder: Path) -> None:
    """Upload the release, its signature and its manifest last, and only then name it the newest."""
    bucket = settings.serving_bucket
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda p: store.upload_file(bucket, keys.release(release.id, p), folder / p), release.files))
    reached(Step.PUBLISH_FILES)
    write_manifest(settings, store, release)
    reached(Step.PUBLISH_MANIFEST)
    store.write_json(bucket, keys.CURRENT_RELEASE, {"id": release.id, "created": release.created})
    reached(Step.PUBLISH_CURRENT)


def write_manifest(settings: Settings, store: ObjectStore, release: Release) -> None:
    """Write the manifest of a release, after the signature of what it will say."""
    bucket, manifest = settings.serving_bucket, json.loads(json.dumps(release.to_json()))
    if signed := signature.sign(settings, signature.of_manifest(manifest)):
        store.write_json(bucket, keys.release_signature(release.id), signed)
    store.write_json(bucket, keys.release(release.id), manifest)


def fetch(settings: Settings, store: ObjectStore, release: Release, folder: Path) -> None:
    """Download the release to a new folder, whole or not at all. Raises `PermanentFailure` for a damaged file."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)

    def download(entry: tuple[str, str]) -> None:
        path, expected = entry
        store.download_file(settings.serving_bucket, keys.release(release.id, path), partial / path)
        if hashlib.sha256((partial / path).read_bytes()).hexdigest() != expected:
            raise PermanentFailure(
                f"{keys.release(release.id, path)} in the serving bucket is damaged; materialise triton_repo again"
            )
        if path.endswith("python_backend_stub"):
            (partial / path).chmod(0o755)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(download, release.files.items()))
    store.download_file(settings.serving_bucket, keys.release(release.id), partial / "release.json")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def remove_old(settings: Settings, store: ObjectStore, keep: int) -> list[str]:
    """Remove all but the newest release and `keep` others from the bucket; returns the ids removed.

    What has no manifest is no release: left by a process that was killed while it uploaded or removed one, or being
    uploaded just now. It goes when nothing was added to it for `LEFTOVER_AGE`.
    """
    bucket = settings.serving_bucket
    objects: dict[str, list[ObjectInfo]] = {}
    for found in store.list(bucket, keys.RELEASES):
        if found.key.count("/") > 1:
            objects.setdefault(found.key.split("/")[1], []).append(found)
    manifests = [o for entries in objects.values() for o in entries if o.key == keys.release(keys.release_of(o.key))]
    manifests.sort(key=lambda o: o.last_modified, reverse=True)
    for manifest in manifests[keep + 1 :]:
        store.delete(bucket, manifest.key)  # first: without it the rest is no release
        reached(Step.PUBLISH_FORGET)
    kept = {keys.release_of(manifest.key) for manifest in manifests[: keep + 1]}
    recent = datetime.now(UTC) - LEFTOVER_AGE
    forgotten = {keys.release_of(manifest.key) for manifest in manifests[keep + 1 :]}
    left = {name for name, entries in objects.items() if max(o.last_modified for o in entries) < recent}
    removed = sorted(forgotten | (left - kept))
    for entry in (o for name in removed for o in objects[name]):
        store.delete(bucket, entry.key)
    return removed


def read_parity(settings: Settings, store: ObjectStore) -> dict[str, Any]:
    """The gate's findings on the release that was built last. Raises `FileNotFoundError` before the first."""
    report: dict[str, Any] = store.read_json(settings.serving_bucket, keys.PARITY)
    return report
