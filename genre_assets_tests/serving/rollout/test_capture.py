"""Clients' audio is kept as the settings say, in a bucket of its own, and costs no request anything, whatever fails."""

import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from genre_assets.serving import batch
from genre_assets.settings import Settings
from genre_assets.stack.services.triton_watchdog import load_anew
from genre_assets.store import parse_uri
from genre_assets.triton.protocol import CAPTURE_SPOOL
from genre_assets_tests.faults.proxy import FaultProxy
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import (
    first_release,
    golden_fingerprint,
    stub_processes,
    wait_for_rows,
)
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

__all__ = ["first_release"]
pytestmark = pytest.mark.stack
MODELS = ("pre_processor", "post_processor")  # they read the settings
SECONDS = 60.0  # a busy machine takes its time


@dataclass
class Capturing:
    """The live stack with an S3 that can be taken away from its models."""

    live: LiveStack
    s3: FaultProxy
    before: str

    @contextmanager
    def by(self, **settings: object) -> Iterator[None]:
        """The models have these settings until the end of the block."""
        lines = "".join(f"GENRE_{name.upper()}={value}\n" for name, value in settings.items())
        self._load(f"{self.before}\nGENRE_S3_ENDPOINT_URL={self.s3.url}\n{lines}")
        try:
            yield
        finally:
            self._load(self.before)

    def _load(self, env: str) -> None:
        (self.live.settings.home / "stack.env").write_text(env)
        before = stub_processes(self.live)
        for model in MODELS:
            load_anew(self.live.settings.repository, self.live.control, self.live.model(model))
        # A process of before still uploads what is in the spool, by its own settings, until it has ended; and whoever
        # kills one next must not meet one that is on its way out: nobody puts another in its place.
        until(lambda: all(self._anew(model, before[model]) for model in MODELS), "those of before have ended", 60)

    def _anew(self, model: str, before: set[int]) -> bool:
        now = stub_processes(self.live).get(model, set())
        return bool(now) and not now & before

    @property
    def spool(self) -> Path:
        return self.live.settings.home / CAPTURE_SPOOL

    def waiting(self) -> list[Path]:
        """What is in the spool."""
        return sorted(path for path in self.spool.rglob("*") if path.is_file())

    def counted(self, what: str) -> float:
        """The sum of a metric; the server's counters outlive their processes."""
        with urllib.request.urlopen(f"http://{self.live.settings.triton_metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"(?m)^genre_capture_{what}\S* (\S+)$", text))

    def stored(self) -> set[str]:
        """Keys of the clients' bucket that the capture made."""
        return {entry.key for entry in self.live.store.list(self.live.settings.clients_bucket, "raw/")}


@pytest.fixture(scope="module")
def capturing(live: LiveStack, s3_settings: Settings) -> Iterator[Capturing]:
    port = urlsplit(s3_settings.s3_endpoint_url or "").port or 0
    with FaultProxy(("127.0.0.1", port)) as s3:
        yield Capturing(live, s3, (live.settings.home / "stack.env").read_text())


@pytest.fixture(autouse=True)
def empty_bucket(live: LiveStack) -> None:
    for entry in list(live.store.list(live.settings.clients_bucket)):
        live.store.delete(live.settings.clients_bucket, entry.key)


def key_of(data: bytes) -> str:
    return f"raw/{datetime.now(UTC):%Y-%m-%d}/{golden_fingerprint(data)}.wav"


def test_off_is_the_default_and_leaves_no_trace(live: LiveStack, capturing: Capturing) -> None:
    given = clip(1_000)
    live.client.predict([given])
    (row,) = wait_for_rows(live, {golden_fingerprint(given)}, SECONDS).to_dict("records")
    assert row["address"] is None
    assert capturing.stored() == set()
    assert not capturing.spool.exists()


def test_all_keeps_what_was_sent_as_bytes_and_answered_once_and_the_row_says_where(
    live: LiveStack, capturing: Capturing
) -> None:
    kept, probe, at_address = clip(1_001), clip(1_002), clip(1_003)
    stored, dropped = (capturing.counted(what) for what in ("stored_clips", "dropped_clips"))
    live.store.put_bytes("genre-raw", "rock/captured.wav", at_address)
    with capturing.by(capture="all"):
        answers = live.client.predict([kept, b"no sound" * 30, "s3://genre-raw/rock/captured.wav", kept])
        assert [bool(answer.error) for answer in answers] == [False, True, False, False]
        live.client.predict([probe], log=False)
        until(lambda: capturing.stored() == {key_of(kept)} and not capturing.waiting(), "the clip is stored", 30)
        until(lambda: capturing.counted("stored_clips") == stored + 1, "it is counted", 10)
        assert (capturing.counted("dropped_clips"), capturing.counted("backlog_bytes")) == (dropped, 0)
    address = f"s3://{live.settings.clients_bucket}/{key_of(kept)}"
    assert live.store.get_bytes(*parse_uri(address)) == kept
    rows = wait_for_rows(live, {golden_fingerprint(data) for data in (kept, at_address)}, SECONDS)
    assert set(rows[rows["fingerprint"] == golden_fingerprint(kept)]["address"]) == {address}
    failed = live.database.rows("SELECT address FROM served_requests WHERE request_id = %s AND item = 1",
                                (rows["request_id"].iloc[0],))  # fmt: skip
    assert [row["address"] for row in failed] == [None]
    done = batch.predict_prefix(live.settings, live.store, live.client, f"s3://{live.settings.clients_bucket}/raw/")
    assert (done.items, done.counts) == (1, {answers[0].label: 1})


@pytest.mark.long
def test_doubtful_keeps_the_answers_below_the_confidence(live: LiveStack, capturing: Capturing) -> None:
    clips = [clip(seed) for seed in range(1_010, 1_016)]
    sure = [max(a.probabilities.values()) for a in live.client.predict(clips, log=False)]
    bound = sum(sorted(sure)[2:4]) / 2
    doubtful = {key_of(data) for data, confidence in zip(clips, sure, strict=True) if confidence < bound}
    assert 0 < len(doubtful) < len(clips)
    with capturing.by(capture="doubtful", capture_below_confidence=bound):
        live.client.predict(clips)
        rows = wait_for_rows(live, {golden_fingerprint(data) for data in clips}, SECONDS)
        until(lambda: capturing.stored() == doubtful and not capturing.waiting(), "the doubtful are stored", 30)
    addresses = {address for address in rows["address"] if address}
    assert addresses == {f"s3://{live.settings.clients_bucket}/{key}" for key in doubtful}


def test_what_waits_for_s3_survives_a_kill_and_what_the_dead_left_is_removed(
    live: LiveStack, capturing: Capturing
) -> None:
    clips, dropped = [clip(seed) for seed in range(1_020, 1_024)], capturing.counted("dropped_clips")
    with capturing.by(capture="all"):
        with capturing.s3.behaving("refuse"):
            live.client.predict(clips)
            wait_for_rows(live, {golden_fingerprint(data) for data in clips}, SECONDS)
            assert len(list((capturing.spool / "ready").iterdir())) == len(clips)
            torn = capturing.spool / "ready" / key_of(b"another").replace("/", "_")
            torn.write_bytes(b"half of")
            left = capturing.spool / "pending" / "0123"
            left.write_bytes(b"of a process that was killed")
            os.utime(left, (time.time() - 3_600,) * 2)
            (old,) = stub_processes(live)["post_processor"]
            os.kill(old, signal.SIGKILL)
            until(lambda: bool(stub_processes(live).get("post_processor", set()) - {old}), "it is revived", 60)
            assert live.client.predict([clip(1)], log=False)[0].error == ""
            assert capturing.stored() == set()
        until(lambda: capturing.stored() == {key_of(data) for data in clips}, "all are stored", 60)
        until(lambda: not capturing.waiting(), "the spool is empty", 30)
        until(lambda: capturing.counted("dropped_clips") == dropped + 1, "the torn one is counted", 10)


@pytest.mark.long
def test_a_full_spool_costs_the_clip_alone_and_its_row_has_no_address(live: LiveStack, capturing: Capturing) -> None:
    clips = [clip(seed) for seed in range(1_030, 1_036)]
    room, before = 3.5 * len(clips[0]), capturing.counted("dropped_clips")
    with capturing.by(capture="all", capture_spool_max_mb=room / 2**20):
        with capturing.s3.behaving("unavailable"):
            for data in clips:
                assert live.client.predict([data])[0].error == ""
                time.sleep(1.05)  # the spool is measured once a second
            rows = wait_for_rows(live, {golden_fingerprint(data) for data in clips}, SECONDS)
            until(lambda: capturing.counted("dropped_clips") == before + 3, "the loss is counted", 20)
            until(lambda: capturing.counted("backlog_bytes") > 0, "the backlog is told", 20)
            assert sum(path.stat().st_size for path in capturing.waiting()) <= room
        addresses = {address for address in rows["address"] if address}
        assert addresses == {f"s3://{live.settings.clients_bucket}/{key_of(data)}" for data in clips[:3]}
        until(lambda: capturing.stored() == {key_of(data) for data in clips[:3]}, "what waited is stored", 60)
