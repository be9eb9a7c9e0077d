"""A labelled clip of a client becomes training data: through the job `drift`, as the daemon launches it."""

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from genre_assets import labels as label_set
from genre_assets.audio import groups, label_changes
from genre_assets.audio.tables import inventory
from genre_assets.database import Database
from genre_assets.inference.request_log import Row
from genre_assets.serving import sensors
from genre_assets.serving.feedback import training_clips, training_plan
from genre_assets.serving.promotion import retraining_requests
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.labelled import TEN
from genre_assets_tests.serving.drift.data import log_rows, reference_frame
from genre_assets_tests.serving.drift_platform import checks, instance, observed, platform, run_drift, settings, tick

__all__ = ["instance", "platform", "settings"]  # fixtures
BUCKET = "clients-of-a-test"
Label = Callable[..., None]


@pytest.fixture
def raw(platform: dict[str, Any]) -> "Raw":
    """The raw bucket; the clients' bucket beside it is empty."""
    store: ObjectStore = platform["store"]
    store.ensure_buckets(BUCKET)
    for entry in list(store.list(BUCKET)):
        store.delete(BUCKET, entry.key)
    return Raw(platform)


class Raw:
    """What a test wants to know of the buckets, and to do to them."""

    def __init__(self, platform: dict[str, Any]) -> None:
        self.store: ObjectStore = platform["store"]
        self.settings: Settings = platform["settings"]
        self.database: Database = platform["database"]
        self.platform = platform

    def clips(self) -> list[str]:
        """Keys of the copies."""
        return [e.key for e in self.store.list(self.settings.raw_bucket) if "/clients/" in e.key]

    def label(self, file: str, *rows: tuple[str, str] | tuple[str, str, str]) -> None:
        """A label file: request, label and perhaps who said it."""
        page = io.StringIO()
        csv.writer(page).writerows([("request_id", "item", "genre", "labelled_by"), *((r[0], 0, *r[1:]) for r in rows)])
        self.store.put_bytes(self.settings.raw_bucket, f"labels/{file}.csv", page.getvalue().encode())

    def drift(self, rows: list[Row] | None = None, instance: dg.DagsterInstance | None = None) -> dict[str, Any]:
        """Run the job; what it says of labels, tables as lists of dictionaries."""
        said = observed(run_drift(self.platform, rows or [], instance))
        return {name: [r.data for r in v.records] if hasattr(v, "records") else v for name, v in said.items()}


def served(raw: Raw, *contents: bytes, suffix: str = ".wav", tag: str = "") -> list[Row]:
    """Answered items q0, q1 ... whose audio lies in the clients' bucket."""
    rows = []
    for number, (content, row) in enumerate(zip(contents, log_rows(len(contents), seed=5), strict=True)):
        digest = hashlib.sha256(content).hexdigest()
        key = f"raw/2026-11-01/{digest}{suffix}"
        raw.store.put_bytes(BUCKET, key, content)
        rows.append(
            replace(row, request_id=f"q{number}", fingerprint=digest, address=f"s3://{BUCKET}/{key}", tag=tag or None)
        )
    return rows


def clip(label: str, content: bytes, suffix: str = ".wav") -> str:
    return f"{label}/clients/{hashlib.sha256(content).hexdigest()}{suffix}"


def test_a_labelled_clip_is_copied_under_its_label_with_where_it_came_from(raw: Raw) -> None:
    rows = served(raw, b"one", b"two", tag="kiosk ä")
    raw.label("a", ("q0", "Rock", "ann"), ("q1", "jazz", "ann"))
    said = raw.drift(rows)
    assert (said["new_labels"], said["clips_to_training_data"], said["labels_without_training_data"]) == (2, 2, 0)
    assert raw.clips() == [clip("jazz", b"two"), clip("rock", b"one")]
    bucket = raw.settings.raw_bucket
    assert raw.store.get_bytes(bucket, clip("rock", b"one")) == b"one"
    found = raw.store.client.head_object(Bucket=bucket, Key=clip("rock", b"one"))["Metadata"]
    told = {name.lower(): value for name, value in found.items()}  # servers write the names in their own ways
    assert told["request-id"] == "q0"
    assert (told["labelled-by"], told["label-files"], told["source"]) == ("ann", "labels/a.csv", rows[0].address)
    assert (told["tag"], told["answered-at"][:10]) == ("kiosk %C3%A4", "2026-11-01")
    assert groups.read(raw.store, raw.settings) == dict.fromkeys(raw.clips(), "client kiosk ä")


def test_a_clip_of_nobody_in_particular_is_grouped_by_its_recording_as_all_audio_is(raw: Raw) -> None:
    raw.label("a", ("q0", "rock"))
    raw.drift(served(raw, b"one"))
    assert raw.clips() == [clip("rock", b"one")]
    assert groups.read(raw.store, raw.settings) == {}


def test_a_corrected_label_moves_the_copy_also_when_the_clients_bucket_has_forgotten_it(raw: Raw) -> None:
    rows = served(raw, b"one")
    raw.label("a", ("q0", "rock"))
    raw.drift(rows)
    raw.store.delete(BUCKET, str(rows[0].address).removeprefix(f"s3://{BUCKET}/"))
    raw.database.execute("DELETE FROM served_requests")  # its days are over
    raw.label("a", ("q0", "jazz"))
    said = raw.drift()
    assert (said["clips_to_training_data"], said["copies_removed"]) == (1, 1)
    assert raw.clips() == [clip("jazz", b"one")]
    raw.label("a")
    assert raw.drift([])["copies_removed"] == 1, "the label was taken back"
    assert raw.clips() == []


def test_what_people_disagree_on_is_listed_and_no_training_data_until_they_agree(raw: Raw) -> None:
    rows = served(raw, b"one", b"two")
    raw.label("a", ("q0", "rock", "ann"), ("q1", "rock", "ann"))
    raw.drift(rows)
    raw.label("b", ("q0", "jazz", "bo"))
    said = raw.drift()
    assert (said["people_disagree"], said["copies_removed"]) == (1, 1)
    assert said["warning: people disagree"] == [{"request_id": "q0", "item": 0, "labels": "ann: rock, bo: jazz"}]
    assert raw.clips() == [clip("rock", b"two")]
    raw.label("c", ("q0", "jazz", "ann"))
    assert raw.drift()["people_disagree"] == 0
    assert raw.clips() == [clip("jazz", b"one"), clip("rock", b"two")]


def test_two_answers_to_one_content_have_one_label(raw: Raw) -> None:
    """The same file was sent twice: what is said of one answer holds for the other."""
    first, second = served(raw, b"one", b"one")
    raw.label("a", ("q0", "rock", "ann"), ("q1", "jazz", "bo"))
    assert raw.drift([first, second])["people_disagree"] == 1
    assert raw.clips() == []


def test_content_that_is_in_the_bucket_is_neither_doubled_nor_moved(raw: Raw) -> None:
    bucket = raw.settings.raw_bucket
    held = {"rock/old.wav": b"one", "rock/other.wav": b"two", "jazz/sent.wav": b"three", "jazz/kept.wav": b"four"}
    for key, content in held.items():
        raw.store.put_bytes(bucket, key, content)
    inventory.update(raw.store, raw.settings, ["rock", "jazz"], map_tasks=here)
    rows = served(raw, *held.values())
    rows[2:] = [replace(row, address=f"s3://{bucket}/{key}") for row, key in zip(rows[2:], list(held)[2:], strict=True)]
    raw.label("a", ("q0", "rock"), ("q1", "jazz"), ("q2", "jazz"), ("q3", "rock"))
    said = raw.drift(rows)
    assert (said["clips_to_training_data"], said["clips_there_already"]) == (0, 2)
    why = {row["request_id"]: row["why"] for row in said["warning: labels without training data"]}
    assert set(why) == {"q1", "q3"}
    assert "rock/other.wav" in why["q1"]
    assert "jazz/kept.wav" in why["q3"]
    assert raw.clips() == []
    assert sorted(e.key for e in raw.store.list(bucket) if e.key.endswith(".wav")) == sorted(held)


def here(function: Any, tasks: Any, *, settings: Settings) -> Any:
    """Inspect without worker processes."""
    from genre_assets.store import s3_client

    return ((task, function(ObjectStore(s3_client(settings)), task)) for task in tasks)


def test_what_cannot_be_copied_is_told_with_its_reason_and_tried_again(
    raw: Raw, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = served(raw, b"kept", b"gone", b"changed", b"bytes", b"large")
    addresses = [str(row.address).removeprefix(f"s3://{BUCKET}/") for row in rows]
    raw.store.delete(BUCKET, addresses[1])
    raw.store.put_bytes(BUCKET, addresses[2], b"another")
    rows[3] = replace(rows[3], address=None)
    raw.store.put_bytes(BUCKET, addresses[4], b"l" * 2_000_000)
    raw.platform["settings"] = raw.settings.model_copy(update={"max_file_mb": 1.0})
    raw.label("a", *((f"q{number}", "rock") for number in range(6)))
    said = raw.drift(rows)
    why = {row["request_id"]: row["why"] for row in said["warning: labels without training data"]}
    assert said["clips_to_training_data"] == 1
    assert why["q1"] == f"{rows[1].address} is gone"
    assert why["q2"] == f"{rows[2].address} holds another file now than was answered"
    assert why["q3"] == training_plan.NO_AUDIO
    assert "2.0 MB; 1 MB are the most" in why["q4"]
    assert why["q5"] == training_plan.NO_ANSWER
    assert f"1 labels bring no training data: {training_plan.NO_AUDIO}" in capfd.readouterr().err
    raw.store.put_bytes(BUCKET, addresses[1], b"gone")
    again = raw.drift([replace(log_rows(1, seed=6)[0], request_id="q5", fingerprint=None)])
    assert (again["clips_to_training_data"], again["labels_without_training_data"]) == (1, 4)
    assert clip("rock", b"gone") in raw.clips()


def test_labels_set_a_run_going_that_takes_them_and_no_second_one(raw: Raw, instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(sensors.new_labels, raw.platform, instance), dg.SkipReason)
    raw.label("a", ("q0", "rock"))
    request = tick(sensors.new_labels, raw.platform, instance)
    assert str(request.run_key).startswith("labels-")
    raw.drift(served(raw, b"one"), instance)
    assert isinstance(tick(sensors.new_labels, raw.platform, instance), dg.SkipReason)
    raw.database.execute("UPDATE training_clips SET done_at = NULL")
    assert tick(sensors.new_labels, raw.platform, instance).run_key == "labels-interrupted-0"


def test_a_renamed_label_keeps_its_copies_and_a_removed_one_leaves_them(raw: Raw) -> None:
    raw.label("a", ("q0", "rock"))
    raw.drift(served(raw, b"one"))
    label_changes.rename(raw.store, raw.settings, "rock", "rocknroll")
    run_drift(raw.platform, [])
    assert raw.clips() == [clip("rocknroll", b"one")]
    label_set.keep(raw.store, raw.settings, TEN.without("rock"))
    said = raw.drift()
    assert said["warning: labels without training data"][0]["why"] == "rock is no label any more"
    assert raw.clips() == [clip("rocknroll", b"one")]


def test_without_s3_nothing_is_lost_and_the_run_says_so(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = served(raw, b"one")
    raw.label("a", ("q0", "rock"))
    with monkeypatch.context() as away:
        away.setattr(raw.platform["store"], "find", refused)
        said = raw.drift(rows)
    assert "S3 is away" in said["warning: copying stopped, the next run goes on"]
    assert training_clips.interrupted(raw.database)
    raw.drift()
    assert raw.clips() == [clip("rock", b"one")]
    assert not training_clips.interrupted(raw.database)


def refused(*_: object) -> None:
    from genre_assets.errors import TransientFailure

    raise TransientFailure("S3 is away")


def test_the_retraining_request_says_how_many_labelled_clips_have_come(
    raw: Raw, capfd: pytest.CaptureFixture[str]
) -> None:
    raw.database.execute("INSERT INTO retraining_requests (version, reason) VALUES (1, 'the fallback drifts too')")
    waits = retraining_requests.open_request(raw.database)
    assert waits is not None
    assert waits.said(10).endswith("no labelled clip has come yet, 10 new clips start a retraining")
    raw.label("a", ("q0", "rock"), ("q1", "rock"))
    raw.drift(served(raw, b"one", b"two"))
    said = "the fallback drifts too; 2 labelled clips of clients have come since the last champion, 10 new clips start a retraining"
    assert f"training again is asked for: {said}" in capfd.readouterr().err


def test_a_clip_that_was_labelled_and_learned_is_no_evidence_of_drift(raw: Raw, instance: dg.DagsterInstance) -> None:
    """Its content hash goes with the copy, through the inventory, to the model's reference."""
    rows = served(raw, *(b"clip %d" % number for number in range(20)))
    raw.label("a", *((f"q{number}", "rock") for number in range(20)))
    raw.drift(rows)
    inventory.update(raw.store, raw.settings, ["rock"], map_tasks=here)
    learned = inventory.read(raw.store, raw.settings, "rock")["fingerprint"].tolist()
    frame = reference_frame().assign(fingerprint="another")
    frame.loc[: len(learned) - 1, "fingerprint"] = learned
    raw.store.write_parquet(raw.settings.serving_bucket, "reference/version=1/part.parquet", frame)
    again = log_rows(32, seed=9, shift=0.8, names=[*(str(row.fingerprint) for row in rows), *map(str, range(12))])
    raw.database.execute("DELETE FROM served_requests")
    run_drift(raw.platform, again, instance)
    assert checks(instance)["data_quality"].metadata["trained"].value == 20
    assert checks(instance)["feature_drift"].passed
