"""The object store: S3 through boto3, Parquet and JSON that any tool reads.

Plain Python: notebooks, the command line and the Triton models use it as well as assets do. It keeps to what every
S3 implementation offers (no tags, no ACLs, no conditional writes). User metadata is written for people who look at the
bucket, and never read back: some servers forget it.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre_assets.disk.whole import unfinished
from genre_assets.errors import BadInput, DamagedObject, TransientFailure
from genre_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from boto3 import Session
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef


LINK_LASTS = timedelta(days=7)


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object. `etag` is unquoted; `size` is in bytes."""

    key: str
    etag: str
    size: int
    last_modified: datetime


def s3_client(
    settings: Settings, *, connect_seconds: float = 5, read_seconds: float = 60, attempts: int = 4
) -> "S3Client":
    """A boto3 client with the settings that rclone, MinIO, LocalStack and AWS all accept.

    Without a secret key boto3 looks for credentials itself: environment, profile, role of the machine.
    """
    from botocore.config import Config

    secret = settings.s3_secret_key.get_secret_value()
    return aws_session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.s3_access_key if secret else None,
        aws_secret_access_key=secret or None,
        region_name=settings.s3_region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": attempts, "mode": "standard"},
            max_pool_connections=32,
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
        ),
    )


def store_for_a_tick(settings: Settings) -> "ObjectStore":
    """The store, given up on within the minute that a sensor's tick has."""
    return ObjectStore(s3_client(settings, read_seconds=10.0, attempts=2))


@cache
def aws_session() -> "Session":
    """The session that makes the clients; it reads the times in a listing itself, on which botocore spends most of a listing."""
    import boto3
    from botocore.session import get_session

    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return boto3.Session(botocore_session=session)


def _time(value: Any) -> datetime:
    from botocore.utils import parse_timestamp

    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:  # of another form
        return parse_timestamp(value)
    return parsed if parsed.tzinfo else parse_timestamp(value)


def parse_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` -> (bucket, key). Raises `BadInput` on anything else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise BadInput(f"not an S3 address: {uri!r} (expected s3://bucket/key)")
    return bucket, key


def parquet_frame(data: bytes) -> "pd.DataFrame":
    """The rows of a Parquet file. Raises what pandas and Arrow raise where it is none.

    Read from a buffer of Arrow's own: the threads that read ahead in a Python file may let go of it when the interpreter is
    ending, which aborts the process (exit code 134 in place of the command's).
    """
    import pandas as pd
    import pyarrow as pa

    return pd.read_parquet(pa.BufferReader(data), pre_buffer=False)


class ObjectStore:
    """Reads and writes objects. Raises `FileNotFoundError` for a missing object, `TransientFailure` if S3 is away."""

    def __init__(self, client: "S3Client", links: "S3Client | None" = None) -> None:
        self.client = client
        self._links = links or client  # at the address where browsers reach the same server

    def ensure_buckets(self, *buckets: str) -> None:
        """Create the buckets that are missing."""
        for bucket in buckets:
            with translated(f"bucket {bucket}"):
                present = {b["Name"] for b in self.client.list_buckets()["Buckets"]}
                if bucket not in present:
                    self.client.create_bucket(Bucket=bucket)

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        with translated(f"bucket {bucket}"):
            return bucket in {b["Name"] for b in self.client.list_buckets()["Buckets"]}

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object under `prefix`, in key order; folders' marker objects (keys ending in `/`) are left out."""
        with translated(f"s3://{bucket}/{prefix}"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield from _objects(page)

    def folders(self, bucket: str) -> Sequence[str]:
        """The names of the folders at the root of a bucket, in order; none if there is no such bucket."""
        try:
            return self.top(bucket)[0]
        except FileNotFoundError:
            return []

    def top(self, bucket: str) -> tuple[Sequence[str], Sequence[ObjectInfo]]:
        """What is at the root of a bucket, in order: the names of folders, and the objects in none."""
        folders: Sequence[str] = []
        objects: Sequence[ObjectInfo] = []
        with translated(f"s3://{bucket}"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/"):
                folders = [*folders, *(entry["Prefix"].rstrip("/") for entry in page.get("CommonPrefixes", []))]
                objects = [*objects, *_objects(page)]
        return sorted(folders), objects

    def exists(self, bucket: str, key: str) -> bool:
        """Whether the object is there."""
        try:
            with _read(bucket, key):
                self.client.head_object(Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def find(self, bucket: str, key: str) -> ObjectInfo | None:
        """The object as a listing shows it, or None if there is none."""
        first = next(iter(self.list(bucket, key)), None)  # of all keys that begin with it, it is the first
        return first if first is not None and first.key == key else None

    def get_bytes(self, bucket: str, key: str) -> bytes:
        """The whole object."""
        with _read(bucket, key):
            return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def browser_link(self, bucket: str, key: str) -> str:
        """An address that opens the object in a browser for seven days, which is S3's limit. Nothing is asked for.

        The credentials that sign it may end earlier (those of a role do): the object's key is what lasts. The host is
        signed too, so a proxy in between must pass it on.
        """
        named, seconds = {"Bucket": bucket, "Key": key}, int(LINK_LASTS.total_seconds())
        return str(self._links.generate_presigned_url("get_object", Params=named, ExpiresIn=seconds))

    def put_bytes(
        self,
        bucket: str,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write the whole object (replacing it). `metadata` is of printable ASCII."""
        with translated(f"s3://{bucket}/{key}"):
            self.client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type, Metadata=metadata or {})

    def delete(self, bucket: str, key: str) -> None:
        """Remove the object; a missing one is fine."""
        with translated(f"s3://{bucket}/{key}"):
            self.client.delete_object(Bucket=bucket, Key=key)

    def copy(self, bucket: str, key: str, to_bucket: str, to_key: str) -> None:
        """Let the server copy an object, in parts when it is large."""
        with translated(f"s3://{bucket}/{key}"):
            self.client.copy({"Bucket": bucket, "Key": key}, to_bucket, to_key)

    def upload_file(self, bucket: str, key: str, path: Path) -> None:
        """Upload a local file, in parts when it is large."""
        with translated(f"s3://{bucket}/{key}"):
            self.client.upload_file(str(path), bucket, key)

    def download_file(self, bucket: str, key: str, path: Path) -> None:
        """Download to a local file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path) as part, _read(bucket, key):
            self.client.download_file(bucket, key, str(part))

    def read_json(self, bucket: str, key: str) -> Any:
        """The object parsed as JSON. Raises `DamagedObject` if it is none."""
        try:
            return json.loads(self.get_bytes(bucket, key))
        except (ValueError, RecursionError) as error:
            raise DamagedObject(_damaged(bucket, key, "JSON", error)) from error

    def write_json(self, bucket: str, key: str, value: Any) -> None:
        """`value` as indented JSON."""
        self.put_bytes(bucket, key, json.dumps(value, indent=1, sort_keys=True).encode(), "application/json")

    def read_parquet(self, bucket: str, key: str) -> "pd.DataFrame":
        """The object as a DataFrame. Raises `DamagedObject` if it is no Parquet file."""
        import pyarrow as pa

        data = self.get_bytes(bucket, key)
        try:
            return parquet_frame(data)
        except (ValueError, OSError, pa.ArrowException) as error:
            raise DamagedObject(_damaged(bucket, key, "Parquet", error)) from error

    def write_parquet(self, bucket: str, key: str, frame: "pd.DataFrame") -> None:
        """The frame as one Parquet file, without its index."""
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        self.put_bytes(bucket, key, buffer.getvalue(), "application/vnd.apache.parquet")


def _objects(page: "ListObjectsV2OutputTypeDef") -> "Iterator[ObjectInfo]":
    for entry in page.get("Contents", []):
        if not entry["Key"].endswith("/"):
            yield ObjectInfo(entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])


def _damaged(bucket: str, key: str, form: str, error: Exception) -> str:
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"s3://{bucket}/{key} is damaged: no {form} ({said}); put it back, or remove it and materialise its asset again"
    )


# What servers say of a key that they cannot take: a path of some disk, from a table that somebody brought. They say it of
# much else (an expired token, an encryption that is asked for wrongly), so it counts only where the key can be the cause.
_NO_KEY = {"400", "InvalidArgument", "KeyTooLongError", "XMinioInvalidObjectName"}  # 400: of a question without a body
_LONGEST_KEY = 1024  # bytes


@contextmanager
def _read(bucket: str, key: str) -> Iterator[None]:
    """An object is read: `translated`, and a key that the server cannot take is a missing object."""
    from botocore.exceptions import ClientError

    what = f"s3://{bucket}/{key}"
    with translated(what):
        try:
            yield
        except ClientError as error:
            strange = key.startswith("/") or len(key.encode()) > _LONGEST_KEY
            if strange and (code := error.response["Error"]["Code"]) in _NO_KEY:
                raise FileNotFoundError(f"{what} is not there: the server takes no such key ({code})") from error
            raise


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Botocore's errors -> ours, with the address in the message."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}:
            raise FileNotFoundError(f"{what} is not there ({code})") from error
        if code in {"403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"}:
            hint = "check GENRE_S3_ACCESS_KEY and GENRE_S3_SECRET_KEY"
            raise BadInput(f"{what}: access denied ({code}); {hint}") from error
        raise TransientFailure(f"{what}: S3 answered {code}") from error
    except BotoCoreError as error:
        raise TransientFailure(f"{what}: S3 does not answer ({error}); is it up? Try: genre-assets status") from error
