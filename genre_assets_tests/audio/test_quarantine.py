"""Decisions on files in quarantine: by the command, over a real S3 and database, carried out by the next refresh."""

import json
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from genre_assets import audit, labels
from genre_assets.audio import sensors
from genre_assets.audio.recordings.duplicates import verdicts
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.recordings.index_rows import File
from genre_assets.audio.tables import inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets.cli import app
from genre_assets.cli.data import quarantine as command
from genre_assets.database import Database
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.audio.tables.test_one_pass import here
from genre_assets_tests.labelled import add_ten, keep_ten

SONG = sound_file(music(1.5, seed=1))
OTHER = sound_file(music(1.5, seed=2))
SHORT = sound_file(music(0.2, seed=3))
FILES = {"jazz/song.wav": SONG, "rock/song.wav": SONG, "jazz/short.wav": SHORT, "jazz/other.wav": OTHER}


class Bucket:
    """A raw bucket, its tables, and the command over both."""

    def __init__(self, store: ObjectStore, settings: Settings, database: Database) -> None:
        self.store, self.settings, self.database = store, settings, database
        self.index: RecordingIndex | None = RecordingIndex(database, settings.raw_bucket)

    def refreshed(self, *genres: str) -> "Bucket":
        self.done = inventory.update(self.store, self.settings, genres, map_tasks=here, index=self.index)
        refresh(self.store, self.settings, genres, map_tasks=here, index=self.index)
        return self

    def verdicts(self) -> dict[str, str]:
        table = inventory.read_all(self.store, self.settings)
        return dict(zip(table["key"], table["verdict"], strict=True))

    def decide(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["quarantine", *words])
        assert done.exit_code == code, done.output
        return " ".join(done.output.split())

    def listed(self) -> dict[str, str]:
        """Key -> the decision that waits, of the files that the command lists."""
        rows = json.loads(CliRunner().invoke(app, ["quarantine", "--json"]).stdout)
        return {row["key"]: row["waiting"] for row in rows}

    def moves(self) -> list[tuple[str | None, str, str, str]]:
        found = audit.history(self.database, subject="quarantine")
        return [(move.moved_from, move.moved_to, move.actor, move.reason) for move in found]

    def wanted_by_the_sensor(
        self, resources: dict[str, Any], cursor: str | None = None
    ) -> tuple[list[str], str | None]:
        """Why the sensor asks for runs now, and its cursor."""
        with dg.DagsterInstance.ephemeral() as instance:
            add_ten(instance)
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
            found = sensors.raw_bucket(context)
        if isinstance(found, dg.SkipReason):
            return [], cursor
        assert isinstance(found, dg.SensorResult)
        return [request.tags["genre/reason"] for request in found.run_requests or ()], found.cursor


@pytest.fixture
def bucket(store: ObjectStore, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A song under two labels, a clip that is too short, and one that is fine; the tables are made."""
    mine = settings.model_copy(update={"database_url": SecretStr(database.url), "min_seconds": 1.0})
    keep_ten(store, mine)
    for key, data in FILES.items():
        store.put_bytes(mine.raw_bucket, key, data)
    monkeypatch.setattr(command, "stack_settings", lambda *_: mine)
    return Bucket(store, mine, database).refreshed(*labels.names(store, mine))


@pytest.mark.parametrize("indexed", [True, pytest.param(False, marks=pytest.mark.long)])
def test_the_copy_that_a_person_chose_is_used_and_the_other_is_not(bucket: Bucket, *, indexed: bool) -> None:
    if not indexed:
        bucket.index = None
    assert bucket.listed() == {"jazz/short.wav": "", "jazz/song.wav": "", "rock/song.wav": ""}
    said = bucket.decide("--put-back", "rock/song.wav", "--reason", "I was there", "--by", "ann")
    assert "none of the other copies" in said
    assert "ann: I was there" in bucket.listed()["rock/song.wav"]
    bucket.refreshed("rock")
    wanted = {
        "jazz/song.wav": "duplicate",
        "rock/song.wav": "ok",
        "jazz/short.wav": "too_short",
        "jazz/other.wav": "ok",
    }
    assert bucket.verdicts() == wanted
    assert bucket.done.inspected == 0, "a choice costs no look at the file"
    assert bucket.refreshed("jazz", "rock").verdicts() == wanted, "it lasts"
    assert bucket.listed() == {"jazz/short.wav": "", "jazz/song.wav": ""}
    bucket.decide("--put-back", "jazz/song.wav", "--reason", "no, it is jazz", "--by", "bob")
    bucket.refreshed("jazz")
    assert (bucket.verdicts()["jazz/song.wav"], bucket.verdicts()["rock/song.wav"]) == ("ok", "duplicate")
    assert bucket.moves() == [
        ("duplicate", "put back: jazz/song.wav", "bob", "no, it is jazz"),
        ("conflicting_label", "put back: rock/song.wav", "ann", "I was there"),
    ]
    bucket.store.put_bytes(bucket.settings.raw_bucket, "jazz/song.wav", sound_file(music(1.5, seed=9)))
    bucket.refreshed("jazz")
    assert bucket.verdicts()["rock/song.wav"] == "ok", "a choice is of a content"


def test_a_file_that_is_put_back_is_read_again_once(bucket: Bucket, resources: dict[str, Any]) -> None:
    (none, cursor) = bucket.wanted_by_the_sensor(resources | _own(bucket))
    assert none == []
    bucket.decide("--put-back", "s3://" + bucket.settings.raw_bucket + "/jazz/short.wav", "--reason", "a new decoder")
    assert "reads it again" in bucket.listed()["jazz/short.wav"]
    wanted, cursor = bucket.wanted_by_the_sensor(resources | _own(bucket), cursor)
    assert wanted == ["changed in the raw bucket: jazz"]
    bucket.refreshed("jazz")
    assert bucket.done.inspected == 1
    assert bucket.listed()["jazz/short.wav"] == ""
    assert bucket.wanted_by_the_sensor(resources | _own(bucket), cursor)[0] == []
    assert bucket.refreshed("jazz").done.inspected == 0


def _own(bucket: Bucket) -> dict[str, Any]:
    return {"settings": dg.ResourceDefinition.hardcoded_resource(bucket.settings)}


def test_a_file_is_dropped_and_the_drop_undone(bucket: Bucket) -> None:
    bucket.decide("--drop", "rock/song.wav", "--reason", "not rock", "--by", "ann")
    assert bucket.store.find(bucket.settings.raw_bucket, "rock/song.wav") is None
    assert bucket.listed() == {"jazz/short.wav": "", "jazz/song.wav": ""}
    bucket.refreshed("jazz", "rock")
    assert bucket.verdicts()["jazz/song.wav"] == "ok", "nothing is in its way any more"
    bucket.decide("--put-back", "rock/song.wav", "--reason", "it was")
    assert bucket.store.get_bytes(bucket.settings.raw_bucket, "rock/song.wav") == SONG
    assert [move[:2] for move in bucket.moves()] == [
        ("dropped", "put back: rock/song.wav"), ("conflicting_label", "dropped: rock/song.wav"),
    ]  # fmt: skip
    bucket.refreshed("jazz", "rock")
    bucket.decide("--drop", "rock/song.wav", "--reason", "not rock")
    bucket.store.put_bytes(bucket.settings.raw_bucket, "rock/song.wav", sound_file(music(1.5, seed=9)))
    bucket.refreshed("jazz", "rock")
    assert "another file has the key" in bucket.decide("--put-back", "rock/song.wav", "--reason", "r", code=1)
    assert bucket.store.get_bytes(bucket.settings.raw_bucket, "rock/song.wav") != SONG


def test_what_cannot_be_decided_is_said_and_changes_nothing(bucket: Bucket) -> None:
    bucket.store.put_bytes(bucket.settings.raw_bucket, "polka/a.wav", OTHER)
    bucket.refreshed("jazz")
    bucket.store.put_bytes(bucket.settings.raw_bucket, "jazz/short.wav", SONG)
    before = [entry.key for entry in bucket.store.list(bucket.settings.raw_bucket)]
    for words, why in (
        (["--drop", "jazz/other.wav", "--reason", "r"], "is not in quarantine"),
        (["--put-back", "jazz/other.wav", "--reason", "r"], "neither in quarantine nor was it dropped"),
        (["--drop", "jazz/song.wav"], "say why"),
        (["--put-back", "polka/a.wav", "--reason", "r"], "genre-assets labels add polka"),
        (["--put-back", "jazz/a", "--drop", "jazz/b"], "one decision at a time"),
        (["--put-back", "jazz/short.wav", "--reason", "r"], "was overwritten"),
        (["--drop", "jazz/short.wav", "--reason", "r"], "was overwritten"),
    ):
        assert why in bucket.decide(*words, code=1), words
    assert [entry.key for entry in bucket.store.list(bucket.settings.raw_bucket)] == before
    assert bucket.moves() == []


def test_the_last_choice_counts() -> None:
    copies = [File(label, f"{label}/a", "f", "r", b"") for label in ("jazz", "rock")]
    chosen = {("jazz/a", "f"): "2026-11-01", ("rock/a", "f"): "2026-11-02", ("pop/a", "f"): "2026-11-03"}
    assert [one.verdict for one in verdicts(copies, chosen)] == ["duplicate", "ok"]
    assert [one.verdict for one in verdicts(copies[:1], chosen)] == ["ok"]
