"""Items: bytes or an allowed S3 address, never a path or another URL, never more than the limits."""

from typing import Any

import pytest

from genre_assets.inference.items import ItemError, ItemLimits, ItemReader
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client

LIMITS = ItemLimits(item_bytes=1000, request_bytes=3000, buckets=("genre-raw",))


def reader(client: Any = None) -> ItemReader:
    return ItemReader(LIMITS, lambda: client)


@pytest.mark.parametrize(
    "item",
    [b"/etc/passwd", b"../secret.wav", b"./clip.wav", b"~/clip.wav", b"file:///etc/passwd", b"http://169.254.169.254/latest",
     b"https://example.org/a.wav", b"S3://genre-raw/x", b"gs://bucket/key"],
)  # fmt: skip
def test_paths_and_other_urls_are_refused_without_being_read(item: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        reader().read(item)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize(
    "address", ["s3://genre-mlflow/model", "s3://other/x", "s3://genre-raw-2/x", "s3://genre-raw.evil/x"]
)
def test_buckets_that_are_not_allowed_are_refused_before_any_request(address: str) -> None:
    with pytest.raises(ItemError) as caught:
        reader().read(address.encode())
    assert caught.value.code == "bucket_not_allowed"


@pytest.mark.parametrize("address", [b"s3://", b"s3://genre-raw", b"s3://genre-raw/"])
def test_an_incomplete_address_is_named(address: bytes) -> None:
    with pytest.raises(ItemError, match="not s3://bucket/key"):
        reader().read(address)


@pytest.mark.parametrize(
    "address",
    [b"s3://genre-raw/../genre-mlflow/x", b"s3://genre-raw/a/./b", b"s3://genre-raw/a/..", b"s3://genre-raw/a\0b",
     b"s3://genre-raw/a\r\nHost: x", "s3://genre-raw/\x85".encode(), b"s3://genre-raw/\xff"],
)  # fmt: skip
def test_keys_that_a_server_may_read_as_other_keys_are_refused_before_any_request(address: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        reader().read(address)
    assert caught.value.code == "bad_address"


def test_an_item_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    assert reader().read(b"\0" * 1000) == b"\0" * 1000
    with pytest.raises(ItemError, match="too_large"):
        reader().read(b"\0" * 1001)


def test_a_request_is_refused_as_a_whole_only_above_its_limit() -> None:
    assert reader().over_budget([b"x" * 1000] * 3) is None
    refused = reader().over_budget([b"x" * 1000] * 3 + [b"x"])
    assert refused is not None
    assert refused.code == "request_too_large"


@pytest.mark.stack
def test_an_allowed_object_is_read_and_a_large_one_is_refused_before_its_body(
    s3_settings: Settings, store: ObjectStore
) -> None:
    store.put_bytes("genre-raw", "rock/a b+ü.wav", b"sound")
    store.put_bytes("genre-raw", "rock/huge.wav", b"\0" * 1001)
    client = s3_client(s3_settings)
    there = reader(client)
    assert there.read("s3://genre-raw/rock/a b+ü.wav".encode()) == b"sound"
    with pytest.raises(ItemError, match="too_large"):
        there.read(b"s3://genre-raw/rock/huge.wav")
    with pytest.raises(ItemError) as missing:
        there.read(b"s3://genre-raw/rock/none.wav")
    assert missing.value.code == "not_found"
    client.close()


def test_a_store_that_is_away_is_the_items_error_and_says_nothing_of_keys() -> None:
    settings = load_settings(s3_endpoint_url="http://127.0.0.1:1", s3_secret_key="very-secret")
    client = s3_client(settings, connect_seconds=1, read_seconds=2, attempts=1)
    with pytest.raises(ItemError) as caught:
        reader(client).read(b"s3://genre-raw/x.wav")
    assert caught.value.code == "store_unavailable"
    assert "secret" not in str(caught.value)
    client.close()
