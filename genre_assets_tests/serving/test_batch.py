"""Batch inference: everything under a prefix answered, and only what is new the next time."""

import json
import os
import signal
import subprocess
from urllib.request import urlopen

import dagster as dg
import pytest

from genre_assets import keys
from genre_assets.definitions import build_defs
from genre_assets.errors import BadInput
from genre_assets.serving import batch
from genre_assets.store import parse_uri
from genre_assets.triton.client.sync import Prediction
from genre_assets_tests.live import COMMAND
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

    for name, seed in (("9", 9), ("0-before", 10)):  # behind the old ones, and among them
        live.store.put_bytes(bucket, f"batch/{name}.wav", clip(seed))
    asked: list[int] = []
    honest = live.client.predict

    def counting(items: list[str], *, log: bool) -> list[Prediction]:
        asked.append(len(items))
        return honest(items, log=log)

    monkeypatch.setattr(live.client, "predict", counting)
    second = batch.predict_prefix(live.settings, live.store, live.client, "batch/")
    assert (second.items, second.asked, second.parts_reused, asked) == (11, 2, 3, [2])
    answers = live.store.read_parquet(live.settings.serving_bucket, second.key)
    assert answers["key"].tolist() == sorted(set(answers["key"]))
    by_address = batch.predict_prefix(live.settings, live.store, live.client, f"s3://{bucket}/batch/")
    assert (by_address.key, by_address.asked) == (second.key, 0), "the same prefix, said in full"

    # Those of our own are no clients' traffic, unless somebody wants them to be.
    live.store.put_bytes(bucket, "batch-logged/0.oga", clip(20))
    batch.predict_prefix(live.settings, live.store, live.client, "batch-logged/", log=True)
    until(lambda: logged(live) > before, "the row that was asked for", 20)
    assert logged(live) == before + 1


def logged(live: LiveStack) -> int:
    """Rows in the prediction log."""
    return int(live.database.rows("SELECT count(*) AS n FROM served_requests")[0]["n"])


def test_answers_stored_for_the_places_of_before_are_found(live: LiveStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of an earlier edition holds objects by their place in the listing; its name is a hash of them."""
    bucket, serving = live.settings.raw_bucket, live.settings.serving_bucket
    for i in range(3):
        live.store.put_bytes(bucket, f"batch-old/{i}.wav", clip(i))
    batch.predict_prefix(live.settings, live.store, live.client, "batch-old/")
    (part,) = live.store.list(serving, keys.answers_parts("batch-old/"))
    frame = live.store.read_parquet(serving, part.key)
    frame.loc[0, "error"] = "store_unavailable: it was away"
    live.store.write_parquet(serving, part.key, frame)
    live.store.put_bytes(bucket, "batch-old/1.wav", clip(77))  # changed
    done = batch.predict_prefix(live.settings, live.store, live.client, "batch-old/")
    assert (done.items, done.asked, done.failed) == (3, 2, 0)
    for i in range(3):
        live.store.delete(bucket, f"batch-old/{i}.wav")
    live.store.put_bytes(bucket, "batch-old/3.wav", clip(3))
    assert batch.predict_prefix(live.settings, live.store, live.client, "batch-old/").items == 1
    assert len(list(live.store.list(serving, keys.answers_parts("batch-old/")))) == 1, "what is gone is gone there too"


@pytest.mark.long
def test_by_command_over_both_buckets_with_an_interruption(live: LiveStack) -> None:
    clients, raw = live.settings.clients_bucket, live.settings.raw_bucket
    for i in range(3 * batch.PART):
        live.store.put_bytes(clients, f"by-hand/{i:03}.wav", clip(i % 7, seconds=1.05))
    live.store.put_bytes(raw, "by-command/0.wav", clip(0))
    live.store.put_bytes(raw, "by-command/1.wav", b"no sound" * 20)
    parts = keys.answers_parts(f"s3://{clients}/by-hand/")
    running = command(live, f"s3://{clients}/by-hand/")
    until(lambda: any(True for _ in live.store.list(live.settings.serving_bucket, parts)), "a part is stored", 60)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "the same command goes on from there" in said) == (130, True), said
    again = command(live, f"s3://{clients}/by-hand/", "--json")
    told, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    done = json.loads(told)
    assert (done["items"], done["failed"]) == (3 * batch.PART, 0)
    assert 0 < done["asked"] <= 2 * batch.PART
    assert live.store.exists(*parse_uri(done["answers"]))

    mixed = command(live, f"s3://{raw}/by-command/")
    told, said = mixed.communicate(timeout=60)
    label = live.client.predict([clip(0)], log=False)[0].label
    assert mixed.returncode == 1, said
    first, second = told.splitlines()
    assert first == f"2 answered, 2 of them now, 1 failed: {label} 1"
    assert live.store.exists(*parse_uri(second))


def command(live: LiveStack, prefix: str, *more: str) -> "subprocess.Popen[str]":
    """`genre-assets predict --batch`, started."""
    names = ("s3_endpoint_url", "triton_grpc", "triton_http", "serving_bucket")
    given = {f"GENRE_{name.upper()}": str(getattr(live.settings, name)) for name in names}
    given["GENRE_S3_SECRET_KEY"] = live.settings.s3_secret_key.get_secret_value()
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    home = {"GENRE_HOME": str(live.folder / "elsewhere")}
    return subprocess.Popen(
        [COMMAND, "predict", "--batch", prefix, *more],
        env={**outside, **home, **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_job_takes_an_address_of_the_clients_bucket(live: LiveStack) -> None:
    """As the Launchpad starts it."""
    live.store.put_bytes(live.settings.clients_bucket, "by-job/0.wav", clip(0))
    config = {"ops": {"batch_predictions": {"config": {"prefix": f"s3://{live.settings.clients_bucket}/by-job/"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        done = build_defs(live.settings).resolve_job_def("batch").execute_in_process(config, instance=instance)
    (made,) = done.asset_materializations_for_node("batch_predictions")
    assert (made.metadata["items"].value, made.metadata["asked in this run"].value) == (1, 1)
    bucket, key = parse_uri(str(made.metadata["answers"].value))
    with urlopen(str(made.metadata["answers, in a browser"].value), timeout=10) as opened:
        assert opened.read() == live.store.get_bytes(bucket, key)


def test_a_bucket_that_the_ensemble_may_not_read_is_named_before_anything_is_asked(live: LiveStack) -> None:
    with pytest.raises(BadInput, match=r"may not read bucket 'genre-mlflow'; allowed .*genre-raw, genre-clients"):
        batch.predict_prefix(live.settings, live.store, live.client, "s3://genre-mlflow/x/")


def test_an_empty_prefix_is_named(live: LiveStack) -> None:
    with pytest.raises(BadInput, match="no audio is under"):
        batch.predict_prefix(live.settings, live.store, live.client, "no/such/prefix/")
