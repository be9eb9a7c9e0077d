"""An item of a request -> the bytes of an audio file: given as such, or fetched from an allowed bucket.

Never a local path, never another URL, never more bytes than the limits allow.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from genre_assets.errors import GenreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from genre_assets.settings import Settings

S3_SCHEME = b"s3://"
LONGEST_ADDRESS = 2048
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
    """Turns items into bytes. `connect` makes the S3 client, at the first item that needs it."""

    def __init__(self, limits: ItemLimits, connect: "Callable[[], S3Client]") -> None:
        self.limits = limits
        self._client = cache(connect)

    def read(self, item: bytes) -> bytes:
        """The bytes of the audio file. Raises `ItemError`."""
        if item.startswith(S3_SCHEME) and len(item) <= LONGEST_ADDRESS:
            return self._fetch(item.decode(errors="replace"))
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

    def _fetch(self, address: str) -> bytes:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise ItemError("bad_address", f"{address!r} is not s3://bucket/key")
        if bucket not in self.limits.buckets:
            raise ItemError(
                "bucket_not_allowed",
                f"bucket {bucket!r} may not be read here; allowed: {', '.join(self.limits.buckets)}",
            )
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client().get_object(Bucket=bucket, Key=key)
            self._check_size(answer["ContentLength"])
            return answer["Body"].read()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}:
                raise ItemError("not_found", f"{address} is not there") from error
            raise ItemError("store_unavailable", f"the object store answered {code}") from error
        except BotoCoreError as error:
            raise ItemError(
                "store_unavailable", f"the object store does not answer ({type(error).__name__})"
            ) from error

    def _check_size(self, size: int) -> None:
        if size > self.limits.item_bytes:
            raise ItemError("too_large", f"the item has {_mb(size)}; the limit is {_mb(self.limits.item_bytes)}")


def timed_read(reader: ItemReader, item: bytes) -> tuple[bytes, float]:
    """The bytes, and how long it took to have them in milliseconds."""
    started = time.perf_counter()
    data = reader.read(item)
    return data, (time.perf_counter() - started) * 1e3


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
