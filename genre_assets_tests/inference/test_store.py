"""Objects within deadlines: whoever waits for a store that hangs waits once, and not for long."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from genre_assets.inference.store import (
    ObjectTooLarge,
    Patience,
    Places,
    StoreError,
    StoreReader,
    StoreRefusal,
    StoreTimeout,
)
from genre_assets_tests.waiting import until

QUICK = Patience(total=1.0, stalled=0.4, stalled_beside=0.1, between_trials=0.05)


class Body:
    """A body that comes in chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.closed = False

    def read(self, size: int) -> bytes:
        return next(self._chunks, b"")

    def close(self) -> None:
        self.closed = True


class Store:
    """A stand-in for the S3 client: `get` makes the chunks, `head` is what a trial meets."""

    def __init__(self, get: Callable[[], Iterator[bytes]], length: int = 3) -> None:
        self.get, self.length, self.asked = get, length, 0
        self.head: Callable[[], object] = dict

    def get_object(self, **_: str) -> dict[str, Any]:
        self.asked += 1
        return {"ContentLength": self.length, "Body": Body(self.get())}

    def head_bucket(self, **_: str) -> object:
        return self.head()


def reader(store: Store, places: Places | None = None) -> StoreReader:
    return StoreReader(lambda: store, places or Places(), QUICK)  # type: ignore[arg-type,return-value]


def refused(status: int) -> ClientError:
    answer: Any = {"Error": {"Code": str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What a hanging store waits for."""
    ending = threading.Event()
    yield ending
    ending.set()


def hanging(until_then: threading.Event) -> Iterator[bytes]:
    """A body of which nothing comes."""
    until_then.wait(30)
    yield from ()


def test_a_store_that_hangs_is_left_and_nobody_waits_again_until_a_trial_is_answered(hang: threading.Event) -> None:
    store = Store(lambda: hanging(hang))
    store.head = failing(EndpointConnectionError(endpoint_url="x"))
    there = reader(store)
    began = time.monotonic()
    with pytest.raises(StoreTimeout, match="did not answer within"):
        there.fetch("b", "k", 10)
    assert 0.4 <= time.monotonic() - began < 3
    for _ in range(50):
        with pytest.raises(StoreError, match="in the background"):
            there.fetch("b", "k", 10)
    assert store.asked == 1
    store.get, store.head = lambda: iter([b"abc"]), failing(refused(403))  # no, but an answer
    until(lambda: fetched(there), "the store is asked again", 10)


def fetched(there: StoreReader) -> bool:
    try:
        return there.fetch("b", "k", 10) == b"abc"
    except StoreError:
        return False


def test_a_store_that_drips_is_left_in_the_end(hang: threading.Event) -> None:
    store = Store(lambda: iter(lambda: b"." if not hang.wait(0.1) else b"", b""), length=1000)
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        reader(store).fetch("b", "k", 1000)
    assert 1.0 <= time.monotonic() - began < 4


def test_two_failures_in_a_row_open_the_breaker_and_one_does_not() -> None:
    store = Store(failing(EndpointConnectionError(endpoint_url="x")))
    store.head = failing(refused(503))
    there = reader(store)
    for get, kind in ((store.get, "EndpointConnectionError"), (failing(refused(404)), "k"), (store.get, "Endpoint"),
                      (failing(refused(503)), "503"), (store.get, "in the background")):  # fmt: skip
        store.get = get
        with pytest.raises((StoreError, FileNotFoundError), match=kind):
            there.fetch("b", "k", 10)
    assert store.asked == 4


def test_what_a_client_may_not_read_is_no_fault_of_the_store() -> None:
    store = Store(failing(refused(403)))
    there = reader(store)
    for _ in range(4):
        with pytest.raises(StoreRefusal, match="403"):
            there.fetch("b", "k", 10)
    assert store.asked == 4


@pytest.mark.parametrize(("length", "chunks"), [(11, []), (3, [b"x" * 6, b"x" * 6])])
def test_no_more_than_the_limit_is_read_whatever_the_length_says(length: int, chunks: list[bytes]) -> None:
    with pytest.raises(ObjectTooLarge):
        reader(Store(lambda: iter(chunks), length)).fetch("b", "k", 10)


def test_of_several_processes_only_so_many_wait_for_long(tmp_path: Path, hang: threading.Event) -> None:
    places = Places(tmp_path / "waits", 1)
    with places.one() as first, Places(tmp_path / "waits", 1).one() as second:
        assert (first, second) == (True, False)
        there, began = reader(Store(lambda: hanging(hang)), places), time.monotonic()
        for match in ("within 0.1", "within 0.1", "in the background"):
            with pytest.raises(StoreError, match=match):
                there.fetch("b", "k", 10)
        assert time.monotonic() - began < 0.4
    with places.one() as again:
        assert again
