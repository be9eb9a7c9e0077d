"""The bytes of an audio object for a player in a browser, in parts, from any place in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, parse_uri, translated

PART = 256 * 1024
_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
# What a browser plays; anything else is offered for download, so that no object can be a page of this origin.
TYPES = {
    "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "opus": "audio/ogg",
    "m4a": "audio/mp4", "mp4": "audio/mp4", "aac": "audio/aac", "webm": "audio/webm",
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """An object that is being read. `status` is 200 for all of it, 206 for a range."""

    status: int
    headers: dict[str, str]
    body: Any

    def chunks(self) -> Iterator[bytes]:
        """Its bytes; closed at the end, or when nobody listens any more."""
        try:
            yield from self.body.iter_chunks(PART)
        finally:
            self.body.close()


def opened(store: ObjectStore, settings: Settings, address: str, asked: str | None) -> Opened:
    """Open the object; `asked` is the request's `Range`, of which several at once are answered with the whole.

    Raises
    ------
    BadInput
        For what is no address, or in a bucket that clients may not name.
    FileNotFoundError
        When it is not there.
    """
    bucket, key = parse_uri(address)
    if bucket not in settings.allowed_buckets:
        raise BadInput(f"bucket {bucket!r} may not be read here; allowed: {', '.join(settings.allowed_buckets)}")
    part = {"Range": asked} if asked and _RANGE.fullmatch(asked) else {}
    with translated(f"s3://{bucket}/{key}"):
        answer = store.client.get_object(Bucket=bucket, Key=key, **part)  # type: ignore[arg-type]
    kind = TYPES.get(key.rpartition(".")[2].lower())
    headers = {
        "Content-Type": kind or "application/octet-stream",
        "Content-Length": str(answer["ContentLength"]),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=600",
        **({} if kind else {"Content-Disposition": "attachment"}),
    }
    if "ContentRange" in answer:
        headers["Content-Range"] = answer["ContentRange"]
    return Opened(HTTPStatus.PARTIAL_CONTENT if "ContentRange" in answer else HTTPStatus.OK, headers, answer["Body"])
