"""An installation from before releases were signed: what it has published is signed once, with a notice in the audit table.

It happens when a key is used for the first time. From then on the database knows that there are signatures, so that nothing
without one is ever taken for a release of before: not where a signature was removed, and not after the key was replaced.
"""

import tempfile
from pathlib import Path

from genre_assets import audit, keys
from genre_assets.database import Database
from genre_assets.packaging import publish, signature
from genre_assets.packaging.environment import conda
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def adopt(settings: Settings, store: ObjectStore, database: Database) -> list[str]:
    """Sign what was published before there was a key; returns the ids of those releases. Nothing is done a second time."""
    public = signature.own_public_key(settings)
    if public is None or _is_known(database, signature.fingerprint(public)):
        return []
    first = not database.rows("SELECT 1 FROM release_keys LIMIT 1")
    adopted = [_sign(settings, store, one) for one in _unsigned(settings, store)] if first else []
    for release in adopted:
        audit.record(
            database, "release", moved_from=None, moved_to=release, actor="upgrade",
            reason="it was published before releases were signed: signed once, by the key that this installation now has",
            evidence={"key": signature.fingerprint(public)},
        )  # fmt: skip
    database.execute(
        "INSERT INTO release_keys (fingerprint, public_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (signature.fingerprint(public), public),
    )
    return adopted


def _is_known(database: Database, fingerprint: str) -> bool:
    return bool(database.rows("SELECT 1 FROM release_keys WHERE fingerprint = %s", (fingerprint,)))


def _unsigned(settings: Settings, store: ObjectStore) -> list[str]:
    there = {entry.key for entry in store.list(settings.serving_bucket, keys.RELEASES)}
    known = sorted({keys.release_of(key) for key in there if key.count("/") > 1})
    return [one for one in known if keys.release(one) in there and keys.release_signature(one) not in there]


def _sign(settings: Settings, store: ObjectStore, identifier: str) -> str:
    release = publish.named(settings, store, identifier)
    archive, bucket = keys.environment(release.environment), settings.serving_bucket
    if store.exists(bucket, archive) and not store.exists(bucket, keys.environment_signature(release.environment)):
        with tempfile.TemporaryDirectory() as folder:
            store.download_file(bucket, archive, Path(folder) / "archive")
            conda.write_signature(settings, store, release.environment, Path(folder) / "archive")
    manifest = store.read_json(bucket, keys.release(identifier))
    store.write_json(
        bucket, keys.release_signature(identifier), signature.sign(settings, signature.of_manifest(manifest))
    )
    return identifier
