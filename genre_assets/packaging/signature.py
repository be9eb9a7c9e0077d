"""Signatures of what Triton is given to run: each release and each environment, by a key of whoever builds them.

Ed25519: who holds `GENRE_RELEASE_KEY` signs; who holds the public key alone (an agent beside a Triton) can verify and sign
nothing. `python -m genre_assets.packaging.signature` prints the public key. Where neither is stated nothing is signed, and
nothing is asked for.
"""

import base64
import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_USE = b"genre_assets release key, version 1\n"  # the secret may be any text: the key is its hash


def of_manifest(manifest: Any) -> bytes:
    """What is signed of a release: its manifest as JSON values, however they are spaced; it has the hash of each file."""
    return b"release\n" + json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def of_archive(lock: str, sha256: str) -> bytes:
    """What is signed of an environment: its name (the hash of its lock) and the SHA-256 of its archive."""
    return f"environment\n{lock}\n{sha256}".encode()


def sign(settings: Settings, content: bytes) -> dict[str, str] | None:
    """The signature by our key, as JSON values; None where no key is stated."""
    key = _private(settings)
    if key is None:
        return None
    public = _text(key.public_key())
    return {"key": fingerprint(public), "signature": base64.b64encode(key.sign(content)).decode()}


def verify(settings: Settings, content: bytes, given: Any, what: str) -> str:
    """The fingerprint of the accepted key that has signed `content`; empty where no key is stated, so that none is asked for.

    Raises `PermanentFailure` that says what is wrong with the signature of `what`, and what to do.
    """
    from cryptography.exceptions import InvalidSignature

    accepted = accepted_keys(settings)
    if not accepted:
        return ""
    advice = "if it is yours, run the build job, which publishes it signed"
    if given is None:
        raise PermanentFailure(f"{what} has no signature: it is not loaded; {advice}")
    try:
        name, signature = str(given["key"]), base64.b64decode(given["signature"], validate=True)
    except (TypeError, KeyError, ValueError) as error:
        raise PermanentFailure(f"the signature of {what} cannot be read: it is not loaded; {advice}") from error
    if name not in accepted:
        known = ", ".join(sorted(accepted))
        raise PermanentFailure(
            f"{what} is signed by another key ({name}; accepted: {known}): it is not loaded; {advice}, or add that key's "
            "public part to GENRE_RELEASE_PUBLIC_KEYS"
        )
    try:
        accepted[name].verify(signature, content)
    except InvalidSignature:
        raise PermanentFailure(
            f"{what} was changed after it was signed: it is not loaded; look who may write the serving bucket, and run the "
            "build job, which publishes it anew"
        ) from None
    return name


def accepted_keys(settings: Settings) -> "dict[str, Ed25519PublicKey]":
    """Public keys by fingerprint: our own, and those that the settings name. Raises `BadInput` for one that is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = {}
    for text in settings.release_public_keys:
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        except ValueError as error:
            raise BadInput(
                f"GENRE_RELEASE_PUBLIC_KEYS names {text!r}, which is no public key: take what "
                "`python -m genre_assets.packaging.signature` prints where releases are built"
            ) from error
        found[fingerprint(text)] = key
    if own := _private(settings):
        found[fingerprint(_text(own.public_key()))] = own.public_key()
    return found


def own_public_key(settings: Settings) -> str | None:
    """The public part of our key, as `GENRE_RELEASE_PUBLIC_KEYS` takes it; None where no key is stated."""
    key = _private(settings)
    return None if key is None else _text(key.public_key())


def fingerprint(public: str) -> str:
    """A short name of a public key."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def _private(settings: Settings) -> "Ed25519PrivateKey | None":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = settings.release_key.get_secret_value()
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(_USE + secret.encode()).digest()) if secret else None


def _text(key: "Ed25519PublicKey") -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


if __name__ == "__main__":
    public = own_public_key(load_settings())
    sys.exit("GENRE_RELEASE_KEY is not stated" if public is None else print(public))
