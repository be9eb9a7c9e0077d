"""Batch inference: everything under a prefix answered, and only what is new the next time."""

import pytest

from genre_assets.errors import BadInput
from genre_assets.serving import batch
from genre_assets.triton.client.sync import Prediction
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack


def test_a_prefix_in_a_parquet_out_and_a_second_run_asks_only_for_what_is_new(
    live: LiveStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "PART", 4)
    bucket = live.settings.raw_bucket
    for i in range(8):
        live.store.put_bytes(bucket, f"batch/{i}.wav", clip(i))
    live.store.put_bytes(bucket, "batch/8-broken.wav", b"rubbish" * 20)
    live.store.put_bytes(bucket, "batch/groups.csv", b"key,group\n")
    before = logged(live)
    first = batch.predict_prefix(live.settings, live.store, live.client, "batch/")
    assert (first.items, first.failed, first.parts, first.parts_reused) == (9, 1, 3, 0)
    answers = live.store.read_parquet(live.settings.serving_bucket, first.key)
    assert answers["key"].tolist() == sorted(answers["key"])
    direct = live.client.predict([clip(i) for i in range(8)], log=False)
    assert answers["genre"].tolist()[:8] == [d.label for d in direct]
    assert answers["error"].iloc[8].startswith("undecodable")

    live.store.put_bytes(bucket, "batch/9.wav", clip(9))
    asked: list[int] = []
    honest = live.client.predict

    def counting(items: list[str], *, log: bool) -> list[Prediction]:
        asked.append(len(items))
        return honest(items, log=log)

    monkeypatch.setattr(live.client, "predict", counting)
    second = batch.predict_prefix(live.settings, live.store, live.client, "batch/")
    assert (second.items, second.parts_reused, asked) == (10, 2, [2])

    # Those of our own are no clients' traffic, unless somebody wants them to be.
    live.store.put_bytes(bucket, "batch-logged/0.oga", clip(20))
    batch.predict_prefix(live.settings, live.store, live.client, "batch-logged/", log=True)
    until(lambda: logged(live) > before, "the row that was asked for", 20)
    assert logged(live) == before + 1


def logged(live: LiveStack) -> int:
    """Rows in the prediction log."""
    return int(live.database.rows("SELECT count(*) AS n FROM served_requests")[0]["n"])


def test_an_empty_prefix_is_named(live: LiveStack) -> None:
    with pytest.raises(BadInput, match="no audio is under"):
        batch.predict_prefix(live.settings, live.store, live.client, "no/such/prefix/")
