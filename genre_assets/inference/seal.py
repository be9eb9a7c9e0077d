"""What the steps of the ensemble tell each other, signed: only they know the key, so only the ensemble can be asked.

Any client can call an inner model by its name. What it invents, or brings along from another request, is refused.
"""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import GenreError, PermanentFailure

KEY_BYTES = 32
LONGEST_SECONDS = 300  # between two steps of a request
Kind = Literal["facts", "served"]


class Unsealed(GenreError):
    """A request to an inner model that does not come from the step before it."""

    def __init__(self) -> None:
        super().__init__("FACTS and SERVED_BY are not what the steps before made for this request: ask genre_ensemble")


class Seals:
    """Signs and verifies with the key in `file`, which the first process to come makes.

    The file is read for each request, so that processes started at different times never disagree for long.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._key()

    def seal(
        self, kind: Kind, request_id: str, values: Sequence[bytes], tensors: Sequence[NDArray[np.float32]]
    ) -> list[bytes]:
        """Each of `values` behind a line with the time and the signature of them all, the tensors and the request id."""
        at = int(time.time())
        line = f"{at} {self._mac(kind, at, request_id, values, tensors)}\n".encode()
        return [line + value for value in values]

    def opened(
        self, kind: Kind, request_id: str, sealed: Sequence[bytes], tensors: Sequence[NDArray[np.float32]]
    ) -> list[bytes]:
        """The values that `seal` was given. Raises `Unsealed` unless all is as it was, and not long ago."""
        try:
            lines, _, values = zip(*(text.partition(b"\n") for text in sealed), strict=True)
            time_text, mac = lines[0].decode("ascii").split(" ")
            at = int(time_text)
        except ValueError:
            raise Unsealed from None
        wanted = self._mac(kind, at, request_id, values, tensors)
        if set(lines) != {lines[0]} or not hmac.compare_digest(mac, wanted) or abs(time.time() - at) > LONGEST_SECONDS:
            raise Unsealed
        return list(values)

    def _mac(
        self, kind: Kind, at: int, request_id: str, values: Sequence[bytes], tensors: Sequence[NDArray[np.float32]]
    ) -> str:
        digest = hashlib.blake2b(key=self._key(), digest_size=32)
        head = [kind.encode(), str(at).encode(), request_id.encode(errors="surrogatepass"), str(len(values)).encode()]
        shapes = [repr(tensor.shape).encode() for tensor in tensors]
        for part in (*head, *values, *shapes, *(np.ascontiguousarray(t, np.float32).tobytes() for t in tensors)):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def _key(self) -> bytes:
        try:
            key = self.file.read_bytes()
        except FileNotFoundError:
            _make(self.file)
            key = self.file.read_bytes()
        if len(key) != KEY_BYTES:
            raise PermanentFailure(f"{self.file} is no key of {KEY_BYTES} bytes: remove it, and it is made anew")
        return key


def _make(file: Path) -> None:
    """Write a key unless another process was first; nobody ever sees half a key."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(secrets.token_bytes(KEY_BYTES))
            output.flush()
            os.fsync(output.fileno())
        os.link(new, file)
    except FileExistsError:
        pass  # the other's holds
    finally:
        new.unlink(missing_ok=True)
