"""An item of a request -> the bytes of an audio file: given as such, or fetched from an allowed bucket.

Never a local path, never another URL, never more bytes than the limits allow.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genre_assets.errors import GenreError
from genre_assets.inference.store import ObjectTooLarge, Patience, Places, StoreError, StoreReader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from genre_assets.settings import Settings

S3_SCHEME = b"s3://"
LONGEST_ADDRESS = 2048
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LOOKS_LIKE_ADDRESS = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://|/|\./|\.\./|~/")


class ItemError(GenreError):
    """An item that cannot be answered. `code` is for tables and metrics, `detail` for the client."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class ItemLimits:
    """What a request may hold; sizes are in bytes."""

    item_bytes: int
    request_bytes: int
    buckets: tuple[str, ...]

    @classmethod
    def from_settings(cls, settings: "Settings") -> "ItemLimits":
        """The limits that the settings state."""
        return cls(
            round(settings.serving_max_item_mb * 2**20),
            round(settings.serving_max_request_mb * 2**20),
            settings.allowed_buckets,
        )


class ItemReader:
    """Turns items into bytes. `connect` makes the S3 client (short timeouts), at the first item that needs it.

    Of the processes that share `places`, some at most wait for a slow store for long.
    """

    def __init__(
        self,
        limits: ItemLimits,
        connect: "Callable[[], S3Client]",
        places: Places | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.limits = limits
        self._store = StoreReader(connect, places or Places(), patience or Patience())

    def read(self, item: bytes) -> bytes:
        """The bytes of the audio file. Raises `ItemError`."""
        if item.startswith(S3_SCHEME) and len(item) <= LONGEST_ADDRESS:
            return self._fetch(*self._address(item))
        if len(item) <= LONGEST_ADDRESS and _LOOKS_LIKE_ADDRESS.match(item) and item.isascii():
            raise ItemError(
                "unsupported",
                "an item is the bytes of an audio file or s3://bucket/key; paths and other URLs are not read",
            )
        self._check_size(len(item))
        return item

    def over_budget(self, items: Sequence[bytes]) -> ItemError | None:
        """Why a request as a whole is refused, or None."""
        total = sum(map(len, items))
        if total <= self.limits.request_bytes:
            return None
        return ItemError(
            "request_too_large",
            f"the request holds {_mb(total)} of audio; the limit is {_mb(self.limits.request_bytes)}: send fewer items at once",
        )

    def _address(self, item: bytes) -> tuple[str, str]:
        """Bucket and key of an address that may be read."""
        try:
            address = item.decode()
        except UnicodeDecodeError as error:
            raise ItemError("bad_address", f"{item!r} is not UTF-8") from error
        bucket, _, key = address.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise ItemError("bad_address", f"{address!r} is not s3://bucket/key")
        if _CONTROL.search(address) or {".", ".."} & set(key.split("/")):
            raise ItemError("bad_address", f"{address!r} has control characters, or a part of its key is . or ..")
        if bucket not in self.limits.buckets:
            raise ItemError(
                "bucket_not_allowed",
                f"bucket {bucket!r} may not be read here; allowed: {', '.join(self.limits.buckets)}",
            )
        return bucket, key

    def _fetch(self, bucket: str, key: str) -> bytes:
        try:
            return self._store.fetch(bucket, key, self.limits.item_bytes)
        except FileNotFoundError as error:
            raise ItemError("not_found", f"s3://{bucket}/{key} is not there") from error
        except ObjectTooLarge as error:
            raise self._too_large(error.size) from error
        except StoreError as error:
            raise ItemError("store_unavailable", str(error)) from error

    def _check_size(self, size: int) -> None:
        if size > self.limits.item_bytes:
            raise self._too_large(size)

    def _too_large(self, size: int) -> ItemError:
        return ItemError("too_large", f"the item has {_mb(size)}; the limit is {_mb(self.limits.item_bytes)}")


def address_of(item: bytes) -> str:
    """The address that an item is, or nothing for the bytes of a file."""
    if item.startswith(S3_SCHEME) and len(item) <= LONGEST_ADDRESS:
        return item.decode(errors="replace")
    return ""


def timed_read(reader: ItemReader, item: bytes) -> tuple[bytes, float]:
    """The bytes, and how long it took to have them in milliseconds."""
    started = time.perf_counter()
    data = reader.read(item)
    return data, (time.perf_counter() - started) * 1e3


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
