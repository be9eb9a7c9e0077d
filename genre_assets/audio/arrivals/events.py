"""S3's event notifications, read from an SQS queue: which objects of the raw bucket were written or removed.

They say where to look, and nothing else: what is there is always read from the bucket. So a message that is lost, comes
twice, late or in another order, or is of another bucket costs a look, or the time until the next full listing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from genre_assets.errors import TransientFailure
from genre_assets.settings import Settings
from genre_assets.store import aws_session

AT_ONCE = 10  # messages of a call: SQS's limit
AT_MOST = 300  # messages of a tick, whose receipts the cursor keeps


@dataclass(frozen=True)
class Batch:
    """What was received: the keys that changed, a receipt for each message, and what could not be read."""

    keys: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()  # beginnings of messages that are no notification


class EventQueue:
    """One queue. Raises `TransientFailure` if it does not answer, is not there, or refuses."""

    def __init__(self, url: str, bucket: str, client: Any) -> None:
        self._url, self._bucket, self._client = url, bucket, client

    @classmethod
    def from_settings(cls, settings: Settings) -> "EventQueue | None":
        """The queue of the settings, if there is one."""
        return _queue(settings) if settings.s3_events else None

    def receive(self, at_most: int = AT_MOST) -> Batch:
        """What waits in the queue, up to `at_most` messages. They come again unless they are `forget`-ed in time."""
        keys: dict[str, None] = {}
        receipts: list[str] = []
        strange: list[str] = []
        while len(receipts) < at_most:
            messages = self._call(self._client.receive_message, MaxNumberOfMessages=AT_ONCE, WaitTimeSeconds=0).get(
                "Messages", []
            )
            for message in messages:
                receipts.append(message["ReceiptHandle"])
                found = read(message.get("Body", ""), self._bucket)
                if found is None:
                    strange.append(message.get("Body", "")[:100])
                keys |= dict.fromkeys(found or ())
            if not messages:
                break
        return Batch(tuple(keys), tuple(receipts), tuple(strange))

    def forget(self, receipts: Sequence[str]) -> None:
        """Messages that were dealt with. One whose receipt has ended comes again."""
        for first in range(0, len(receipts), AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt}
                for number, receipt in enumerate(receipts[first : first + AT_ONCE])
            ]
            self._call(self._client.delete_message_batch, Entries=entries)

    def _call(self, call: Callable[..., Any], **given: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call(QueueUrl=self._url, **given)
        except (BotoCoreError, ClientError) as error:
            raise TransientFailure(
                f"the queue of S3's events ({self._url}) cannot be read: {error}; check GENRE_S3_EVENTS, and that the "
                "credentials of S3 may receive and delete its messages"
            ) from error


@cache
def _queue(settings: Settings) -> EventQueue:
    from botocore.config import Config

    url, secret = urlsplit(settings.s3_events), settings.s3_secret_key.get_secret_value()
    client = aws_session().client(
        "sqs",
        endpoint_url=f"{url.scheme}://{url.netloc}",
        aws_access_key_id=settings.s3_access_key if secret else None,
        aws_secret_access_key=secret or None,
        region_name=settings.s3_region,
        config=Config(retries={"max_attempts": 2, "mode": "standard"}, connect_timeout=2, read_timeout=5),
    )
    return EventQueue(settings.s3_events, settings.raw_bucket, client)


def read(body: str, bucket: str) -> list[str] | None:
    """The keys of `bucket` that a message names; None for a message that is no notification of S3.

    Understands S3's own form, the same sent through SNS, and EventBridge's.
    """
    try:
        content = json.loads(body)
        if isinstance(content, dict) and isinstance(content.get("Message"), str):  # by SNS
            content = json.loads(content["Message"])
        return [key for of, key in _objects(content) if of == bucket]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _objects(content: Any) -> Iterator[tuple[str, str]]:
    if content.get("Event") == "s3:TestEvent":  # what S3 sends when notifications are set up
        return
    if "detail" in content:  # EventBridge's, whose keys are as they are
        yield str(content["detail"]["bucket"]["name"]), str(content["detail"]["object"]["key"])
        return
    for record in content["Records"]:
        yield str(record["s3"]["bucket"]["name"]), unquote_plus(str(record["s3"]["object"]["key"]))


def genres_of(keys: Iterable[str], names: Sequence[str]) -> set[str]:
    """The labels in whose folders these keys lie; what lies elsewhere is looked at anyway."""
    return {folder for folder, separator, _ in (key.partition("/") for key in keys) if separator and folder in names}
