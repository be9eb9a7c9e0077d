"""The newest release's manifest, read as it is: `packaging`, which writes it, would cost the gateway's process much memory."""

from typing import Any

from genre_assets import keys
from genre_assets.store import ObjectStore


def manifest(store: ObjectStore, bucket: str) -> dict[str, Any]:
    """With `roles`, the version of each role that there is. Raises `FileNotFoundError` before the first release."""
    identifier = store.read_json(bucket, keys.CURRENT_RELEASE)["id"]
    found: dict[str, Any] = store.read_json(bucket, keys.release(identifier))
    roles = {role: found["spec"].get(role) for role in ("champion", "fallback")}
    return {**found, "roles": {role: version for role, version in roles.items() if version is not None}}
