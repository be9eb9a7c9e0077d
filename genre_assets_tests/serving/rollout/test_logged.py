"""What the log's row of an item says of what was heard and of whom, over both transports."""

import asyncio

import pytest

from genre_assets.labels import version_of
from genre_assets.triton.client.aio import AsyncGenreClient
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.client.wire import Transport
from genre_assets.triton.protocol import LONGEST_TAG
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import first_release, golden_fingerprint, wait_for_rows
from genre_assets_tests.serving.toys import clip

__all__ = ["first_release"]
pytestmark = pytest.mark.stack


@pytest.mark.parametrize(("transport", "seed"), [("grpc", 910), ("http", 920)])
def test_a_row_says_what_was_heard_and_of_whom(live: LiveStack, transport: Transport, seed: int) -> None:
    given, stored = clip(seed), clip(seed + 1)
    live.store.put_bytes("genre-raw", f"rock/{seed}.wav", stored)
    with GenreClient.from_settings(live.settings, transport=transport, tag="Kiosk 7 ü") as client:
        client.predict([given, f"s3://genre-raw/rock/{seed}.wav"])
    rows = wait_for_rows(live, {golden_fingerprint(given), golden_fingerprint(stored)}).set_index("item")
    assert rows["address"].tolist() == [None, f"s3://genre-raw/rock/{seed}.wav"]
    assert rows["tag"].tolist() == ["Kiosk 7 ü"] * 2
    assert set(rows["label_set"]) == {version_of(live.releases[0].spec.labels)}
    for row in rows.itertuples():
        assert (row.format, row.sample_rate, row.channels) == ("wav", 8_000, 1)
        assert row.duration_s == pytest.approx(1.2, abs=0.01)


def test_a_long_tag_is_cut_and_an_item_that_cannot_be_used_has_one_too(live: LiveStack) -> None:
    good = clip(930)

    async def ask() -> None:
        async with AsyncGenreClient.from_settings(live.settings, tag="x" * 500) as client:
            await client.predict([good, b"no sound" * 30])

    asyncio.run(ask())
    (row,) = wait_for_rows(live, {golden_fingerprint(good)}).to_dict("records")
    assert row["tag"] == "x" * LONGEST_TAG
    failed = live.database.rows(
        "SELECT tag, format FROM served_requests WHERE request_id = %s AND item = 1", (row["request_id"],)
    )
    assert [dict(one) for one in failed] == [{"tag": "x" * LONGEST_TAG, "format": None}]
