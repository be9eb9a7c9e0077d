"""What a restored release needs to serve again: a signature that this stack accepts, and its files where Triton looks."""

import tempfile
from pathlib import Path

from genre_assets import audit, keys
from genre_assets.backup.manifest import Manifest
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.packaging import publish, signature
from genre_assets.packaging.environment import conda
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.promotion import route_state
from genre_assets.serving.rollout.live_files import stage
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


def is_accepted(settings: Settings, manifest: Manifest) -> bool:
    """Whether this stack takes what the archive's stack has signed. Where no key is stated, nothing is asked for."""
    accepted = signature.accepted_keys(settings)
    return not accepted or manifest.public_key is None or signature.fingerprint(manifest.public_key) in accepted


def refuse_foreign(settings: Settings, manifest: Manifest, where: object) -> None:
    """Raise `BadInput` that names the ways to have the releases accepted."""
    if manifest.release is None or is_accepted(settings, manifest):
        return
    assert manifest.public_key is not None
    secrets = (
        f"copy {where}/secrets.env to {settings.home}/stack.env before the first start"
        if manifest.secrets_sha256
        else "give this stack the GENRE_RELEASE_KEY of that one"
    )
    raise BadInput(
        f"the releases in {where} are signed by another stack's key ({signature.fingerprint(manifest.public_key)}), and Triton "
        f"would not load them. If the archive is yours: {secrets}, or set GENRE_RELEASE_PUBLIC_KEYS={manifest.public_key}, "
        "or restore with --sign, which signs them by this stack's key. Nothing was changed"
    )


def sign_anew(settings: Settings, store: ObjectStore, database: Database, manifest: Manifest) -> list[str]:
    """Verify what the archive's stack has signed, and sign it by our key; returns the ids. Each is in the audit table.

    Raises `PermanentFailure` for what was changed after it was signed.
    """
    own = signature.own_public_key(settings)
    if own is None:
        raise BadInput("this stack has no key to sign by: set GENRE_RELEASE_KEY")
    theirs = settings.model_copy(
        update={"release_key": type(settings.release_key)(""), "release_public_keys": (str(manifest.public_key),)}
    )
    bucket = settings.serving_bucket
    there = {entry.key for entry in store.list(bucket, keys.RELEASES)}
    identifiers = sorted(one for one in {keys.release_of(key) for key in there} if keys.release(one) in there)
    done = set[str]()
    for identifier in identifiers:
        release, by = publish.verify(theirs, store, identifier)
        if release.environment not in done and store.exists(bucket, keys.environment(release.environment)):
            _sign_environment(settings, theirs, store, release.environment)
            done.add(release.environment)
        value = store.read_json(bucket, keys.release(identifier))
        store.write_json(
            bucket, keys.release_signature(identifier), signature.sign(settings, signature.of_manifest(value))
        )
        audit.record(
            database, "release", moved_from=None, moved_to=identifier, actor="restore",
            reason="restored from a backup of another stack, whose signature was verified: signed by the key of this one",
            evidence={"signed before by": by, "key": signature.fingerprint(own)},
        )  # fmt: skip
    database.execute(
        "INSERT INTO release_keys (fingerprint, public_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (signature.fingerprint(own), own),
    )
    return identifiers


def _sign_environment(settings: Settings, theirs: Settings, store: ObjectStore, lock_hash: str) -> None:
    with tempfile.TemporaryDirectory(prefix="genre_restore_") as folder:
        archive = Path(folder) / "archive"
        store.download_file(settings.serving_bucket, keys.environment(lock_hash), archive)
        given = store.read_json(settings.serving_bucket, keys.environment_signature(lock_hash))
        content = signature.of_archive(lock_hash, conda.sha256(archive))
        signature.verify(theirs, content, given, f"the archive of environment {lock_hash}")
        conda.write_signature(settings, store, lock_hash, archive)


def put_on_disk(settings: Settings, store: ObjectStore, database: Database) -> str | None:
    """Put the newest release where Triton looks when it starts, on the route that the books name; returns what serves.

    None before the first release. With agents beside the Tritons each of them fetches it by itself.
    """
    try:
        release = publish.newest(settings, store)
    except FileNotFoundError:
        return None
    route = route_state.current_route(database)
    route = route if route in release.roles else "champion"
    said = f"release {release.id}, {route} version {release.roles[route]}"
    if settings.serving_agents:
        return said
    settings.repository.parent.mkdir(parents=True, exist_ok=True)
    repository = ModelRepository(settings.repository)
    repository.ensure()
    with repository.locked():
        stage(settings, store, repository, release)
        repository.write_route(route, release.id)
        repository.point(release.id)
    return said
