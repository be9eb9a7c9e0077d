"""S3's events through a real HTTP endpoint of SQS (moto's server): they say where to look, and can do nothing else."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

import dagster as dg
import pytest

from genre_assets.audio.arrivals.decision import Cursor
from genre_assets.audio.arrivals.events import AT_MOST, read
from genre_assets.audio.tables import inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, aws_session
from genre_assets_tests.audio.arrivals.test_sensor import ingest_job, instance, tick
from genre_assets_tests.audio.conftest import wait_until_open
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.conftest import free_port
from genre_assets_tests.labelled import keep_ten

__all__ = ["instance"]  # a fixture


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    """A client of a server that speaks SQS's protocol."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.split(":")[1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        wait_until_open(address)
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        made: Any = aws_session()
        yield made.client("sqs", endpoint_url=f"http://{address}", **keys)
        server.terminate()


class Queue:
    """A queue of the raw bucket's events, and the sensor that has it."""

    def __init__(self, sqs: Any, store: ObjectStore, settings: Settings, instance: dg.DagsterInstance) -> None:
        name = uuid.uuid4().hex
        self.sqs, self.store, self.instance = sqs, store, instance
        self.url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
        self.settings = settings.model_copy(update={"s3_events": self.url})
        self.cursor: str | None = None
        self.listed: list[str] = []

    def put(self, key: str, data: bytes = b"new") -> None:
        self.store.put_bytes(self.settings.raw_bucket, key, data)

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def event(self, key: str, bucket: str | None = None) -> str:
        of = {"bucket": {"name": bucket or self.settings.raw_bucket}, "object": {"key": quote_plus(key), "size": 3}}
        return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": of}]})

    def tick(self) -> tuple[list[str], str]:
        """The genres of the runs that one look asks for, and why it asks for none."""
        self.listed.clear()
        requests, self.cursor, reason = tick(self.instance, self.store, self.settings, self.cursor)
        return [request.partition_key or str(request.tags) for request in requests], reason

    def waiting(self) -> int:
        """Messages that are in the queue, seen or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def bring(self, *genres: str) -> None:
        """What the run does that was asked for."""
        inventory.update(self.store, self.settings, genres)
        refresh(self.store, self.settings, genres)


@pytest.fixture
def queue(
    sqs: Any, store: ObjectStore, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Queue:
    """The tables of a bucket with a file in rock are made, and the first look listed all of it."""
    made = Queue(sqs, store, settings, instance)
    keep_ten(store, settings)
    made.put("rock/a.wav", sound_file(music(2, seed=1)))
    made.bring(*GENRES)
    asked, reason = made.tick()
    assert (asked, "hold all" in reason) == ([], True)
    listing: Callable[..., Any] = store.list

    def listed(bucket: str, prefix: str = "") -> Any:
        if bucket == settings.raw_bucket:
            made.listed.append(prefix)
        return listing(bucket, prefix)

    monkeypatch.setattr(store, "list", listed)
    return made


NOTHING: tuple[list[str], str] = ([], "nothing changed in the raw bucket")


def test_an_event_has_its_genre_looked_at_and_nothing_else(queue: Queue) -> None:
    assert queue.tick() == NOTHING
    assert queue.listed == []
    queue.put("rock/a b+c.wav")
    assert queue.tick() == NOTHING, "nobody told it"
    queue.send(queue.event("rock/a b+c.wav"))
    assert queue.tick() == (["rock"], "")
    assert queue.listed == ["rock/"]
    queue.bring("rock")
    assert "hold all" in queue.tick()[1]
    assert queue.tick() == NOTHING
    assert queue.waiting() == 0


def test_a_message_is_removed_only_when_the_cursor_that_has_it_is_stored(queue: Queue) -> None:
    queue.put("rock/b.wav")
    queue.send(queue.event("rock/b.wav"))
    before = queue.cursor
    assert queue.tick()[0] == ["rock"]
    assert queue.waiting() == 1
    queue.cursor = before  # the daemon was killed before it kept what the look gave
    until_visible(queue)
    assert queue.tick()[0] == ["rock"]
    queue.tick()
    assert queue.waiting() == 0


def until_visible(queue: Queue) -> None:
    """Until a message that was received comes again."""
    for _ in range(100):
        found = queue.sqs.receive_message(QueueUrl=queue.url, WaitTimeSeconds=1, VisibilityTimeout=0)
        if found.get("Messages"):
            return
    pytest.fail("no message comes again")


def test_events_doubled_foreign_and_malformed_ask_for_nothing(queue: Queue) -> None:
    held = queue.event("rock/a.wav")
    queue.send(held, held, queue.event("pop/x.wav", "another-bucket"), queue.event("polka/gone.wav"))
    queue.send(
        "", "no JSON", "[]", "3", '{"Records": 3}', '{"Records": [{"s3": {}}]}', '{"Event": "s3:TestEvent"}', "[" * 5000
    )
    assert queue.tick() == NOTHING
    assert queue.listed == ["rock/"], "that is all they cost"
    assert queue.tick() == NOTHING
    assert queue.waiting() == 0


def test_what_no_event_told_is_found_by_the_next_full_listing(queue: Queue) -> None:
    queue.put("pop/silent.wav")
    assert queue.tick() == NOTHING
    kept = Cursor.load(queue.cursor)
    assert kept.listed_at is not None
    queue.settings = queue.settings.model_copy(update={"s3_list_seconds": 1e-6})
    assert queue.tick()[0] == ["pop"]
    assert queue.listed == [""]


def test_what_was_lost_while_a_run_was_asked_for_is_found_when_it_ends(queue: Queue) -> None:
    queue.put("rock/b.wav")
    queue.send(queue.event("rock/b.wav"))
    assert queue.tick()[0] == ["rock"]
    queue.put("rock/c.wav")  # whose event is lost
    queue.bring("rock")
    assert "hold all" in queue.tick()[1]
    assert queue.listed == ["rock/"]


def test_events_during_a_run_are_kept_for_its_end(queue: Queue) -> None:
    run = queue.instance.create_run_for_job(ingest_job, status=dg.DagsterRunStatus.STARTED)
    queue.put("rock/b.wav")
    queue.send(queue.event("rock/b.wav"))
    for _ in range(2):
        assert queue.tick() == ([], "waiting for the run that reads the bucket")
        assert queue.listed == []
    assert queue.waiting() == 0
    queue.instance.delete_run(run.run_id)
    assert queue.tick()[0] == ["rock"]


def test_a_folder_of_no_label_and_a_label_that_is_new_are_looked_at(queue: Queue) -> None:
    queue.put("polka/a.wav")
    queue.send(queue.event("polka/a.wav"))
    assert queue.tick()[0] == ["blues"], "every run looks at what lies in no genre"
    assert "" not in queue.listed


def test_a_queue_that_does_not_answer_has_the_whole_bucket_listed(queue: Queue) -> None:
    queue.sqs.delete_queue(QueueUrl=queue.url)
    queue.put("jazz/b.wav")
    assert queue.tick()[0] == ["jazz"]
    assert queue.listed == [""]


@pytest.mark.long
def test_more_events_than_a_look_takes_are_taken_by_the_next(queue: Queue) -> None:
    # As long as queues have it by default: what was received must not come again before the look has ended.
    queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "30"})
    for genre in ("jazz", "pop"):
        queue.put(f"{genre}/b.wav")
    queue.send(*([queue.event("jazz/b.wav")] * AT_MOST), queue.event("pop/b.wav"))
    assert queue.tick()[0] == ["jazz"]
    assert len(Cursor.load(queue.cursor).receipts) == AT_MOST
    queue.bring("jazz")
    assert queue.tick()[0] == ["pop"]


@pytest.mark.parametrize("wrapped", ["S3", "SNS", "EventBridge"])
def test_events_come_in_three_forms(wrapped: str) -> None:
    record = {"s3": {"bucket": {"name": "raw"}, "object": {"key": "hip_hop/a+b%2B.wav"}}}
    bodies = {
        "S3": json.dumps({"Records": [record]}),
        "SNS": json.dumps({"Type": "Notification", "Message": json.dumps({"Records": [record]})}),
        "EventBridge": json.dumps(
            {"source": "aws.s3", "detail": {"bucket": {"name": "raw"}, "object": {"key": "hip_hop/a b+.wav"}}}
        ),
    }
    assert read(bodies[wrapped], "raw") == ["hip_hop/a b+.wav"]
    assert read(bodies[wrapped], "other") == []
