"""The list for labelling: what is on it and why, and what comes back from Label Studio."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.inference.request_log import Row
from genre_assets.labels import of_names
from genre_assets.serving.drift import null, reference
from genre_assets.serving.drift.shadow import IdleModels
from genre_assets.serving.feedback import agreement, label_lists, label_studio, labels, review, selection
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.serving.drift.data import features, log_rows, reference_frame
from genre_assets_tests.serving.feedback.test_feedback import platform, put_labels, serve, settings

__all__ = ["platform", "settings"]  # fixtures
Platform = tuple[Database, ObjectStore, Settings]


def changed(row: Row, **changes: Any) -> Row:
    return Row(**{**row.__dict__, **changes})


def test_the_list_takes_turns_between_its_reasons_and_leaves_out_what_is_labelled(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    assert rows[3].features
    rows[3] = changed(rows[3], features=[v * 20 for v in rows[3].features])
    rows[5] = changed(rows[5], confidence=0.11, address=f"s3://{settings.raw_bucket}/jazz/a b.wav", tag="kiosk")
    rows[6] = changed(rows[6], confidence=0.10)
    store.put_bytes(settings.raw_bucket, "jazz/a b.wav", b"sound")
    serve(platform, rows)
    said = np.array([row.probabilities for row in rows], np.float32)
    said[9] = np.eye(10)[(said[9].argmax() + 1) % 10] * 0.8 + 0.02
    monkeypatch.setattr(IdleModels, "version", lambda *_: 2)  # the release itself: serving/drift/test_shadow.py
    monkeypatch.setattr(IdleModels, "labels", lambda _: GENRES)
    monkeypatch.setattr(IdleModels, "probabilities", lambda *_: said)
    put_labels(store, settings, "done", [f"{rows[6].request_id},0,rock"])
    labels.take_new(database, store, settings)
    found = review.candidates(database, store, settings, limit=5)
    assert [(c.fingerprint, c.reason) for c in found[:3]] == [
        (rows[9].fingerprint, "champion and fallback disagree"),
        (rows[5].fingerprint, "low confidence"),
        (rows[3].fingerprint, "far from the training data"),
    ]
    assert found[0].other == f"{GENRES[said[9].argmax()]} (82%)"
    assert urlopen(found[1].listen).read() == b"sound"
    assert len(found) == len({c.fingerprint for c in found}) == 5
    assert rows[6].fingerprint not in {c.fingerprint for c in found}, "it is labelled"
    again = review.candidates(database, store, settings, limit=5)
    assert [replace(c, listen="") for c in again] == [replace(c, listen="") for c in found], "but for the signed links"


def test_of_five_clips_of_one_song_one_is_listed(platform: Platform) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    song, random = np.array(rows[0].features), np.random.default_rng(2)
    for place in range(5):
        heard = song * np.exp(random.normal(0, 0.02, song.shape))
        rows[place] = changed(rows[place], confidence=0.1 + place / 100, features=[float(v) for v in heard])
    serve(platform, rows)
    found = review.candidates(database, store, settings, limit=20)
    song_names = {row.fingerprint for row in rows[:5]}
    assert [c.fingerprint for c in found if c.fingerprint in song_names] == [rows[0].fingerprint], "the least sure one"
    assert len(found) > 10, "the others are songs of their own"


def test_different_recordings_are_rarely_taken_for_one_and_its_segments_mostly() -> None:
    base = null.baseline(reference.from_frame(reference_frame()), resamples=19)
    radius = selection.neighbourhood(base)
    songs = selection.positions(base, features(60, np.random.default_rng(8), recordings=2))
    apart = np.linalg.norm(songs[::2, None] - songs[None, ::2], axis=2)[np.triu_indices(60, 1)]
    together = np.linalg.norm(songs[::2] - songs[1::2], axis=1)
    assert (apart < radius).mean() < 0.1
    assert (together < radius).mean() > 3 * (apart < radius).mean()


def test_what_people_disagree_on_is_listed_first_and_counts_in_no_window(platform: Platform) -> None:
    database, store, settings = platform
    rows = log_rows(32, seed=4)
    serve(platform, rows)
    put_labels(store, settings, "ann", [f"{r.request_id},0,{r.label}" for r in rows[:4]])
    labels.take_new(database, store, settings)
    assert len(labels.update_windows(database)) == 1
    other = next(name for name in GENRES if name != rows[0].label)
    put_labels(store, settings, "bo", [f"{rows[0].request_id},0,{other}"])
    labels.take_new(database, store, settings)
    labels.update_windows(database)
    first = review.candidates(database, store, settings, limit=3)[0]
    assert first.fingerprint == rows[0].fingerprint
    assert first.reason == f"two people disagree: labels/ann.csv: {rows[0].label}, labels/bo.csv: {other}"
    assert labelled_items(database) == 3
    put_labels(store, settings, "bo", [f"{r.request_id},0,{other if r.label != other else 'rock'}" for r in rows[:4]])
    labels.take_new(database, store, settings)
    assert len(labels.update_windows(database)) == 1
    assert labelled_items(database) is None, "nothing is left that all agree on"


def labelled_items(database: Database) -> int | None:
    (row,) = database.rows("SELECT findings->'labelled_accuracy'->'values'->>'labelled' AS n FROM drift_windows")
    return None if row["n"] is None else int(row["n"])


def test_labels_of_before_it_was_kept_who_gave_them_give_way(platform: Platform) -> None:
    """Migration 0004 carried them over; their file is corrected afterwards."""
    database, store, settings = platform
    database.execute("INSERT INTO served_labels (request_id, item, genre) VALUES ('q', 0, 'rock')")
    put_labels(store, settings, "old", ["q,0,jazz"])
    labels.take_new(database, store, settings)
    (clip,) = agreement.labelled_clips(database)
    assert clip.labels == {"labels/old.csv": "jazz"}


def export(*annotations: dict[str, Any], **data: Any) -> bytes:
    """What Label Studio exports of one task, with fields that nobody asks for."""
    task = {
        "id": 1,
        "data": {"audio": "http://x", "request_id": "q", "item": 0, **data},
        "annotations": list(annotations),
    }
    return json.dumps([{**task, "predictions": [], "project": 1}]).encode()


def chosen(label: str, by: Any, **more: Any) -> dict[str, Any]:
    value = {"choices": [label]}
    result = {
        "id": "a",
        "from_name": "genre",
        "to_name": "audio",
        "type": "choices",
        "origin": "manual",
        "value": value,
    }
    return {"id": 3, "completed_by": by, "was_cancelled": False, "ground_truth": False, "result": [result], **more}


def test_tasks_go_to_label_studio_and_its_export_comes_back(platform: Platform, tmp_path: Path) -> None:
    _, store, settings = platform
    rows = log_rows(32, seed=4)
    rows[5] = changed(rows[5], confidence=0.11, address=f"s3://{settings.raw_bucket}/jazz/a.wav")
    store.put_bytes(settings.raw_bucket, "jazz/a.wav", b"sound")
    serve(platform, rows)
    listed = review.candidates(*platform, limit=6)
    file = tmp_path / "tasks.json"
    page, mute = review.write_tasks(file, listed, store, settings)
    assert mute == 5, "of the others nothing can be played"
    (task,) = json.loads(file.read_text())
    assert task["data"]["audio"].startswith(str(settings.s3_endpoint_url))
    assert (task["data"]["request_id"], task["data"]["item"]) == (rows[5].request_id, 0)
    (answer,) = task["predictions"]
    assert (answer["score"], answer["result"][0]["value"]) == (0.11, {"choices": [rows[5].label]})
    root = ElementTree.fromstring(page.read_text())
    assert [choice.get("value") for choice in root.iter("Choice")] == list(GENRES)
    assert (root.find("Choices").get("name"), root.find("Audio").get("value")) == ("genre", "$audio")  # type: ignore[union-attr]
    two = [
        chosen("jazz", {"id": 4, "email": "ann@example.org"}),
        chosen("rock", 7),
        chosen("pop", 8, was_cancelled=True),
    ]
    file.write_bytes(export(*two, request_id=rows[5].request_id))
    key, count = label_lists.take_labels(file, store, settings, by="nobody")
    with_whom = list(csv.DictReader(store.get_bytes(settings.raw_bucket, key).decode().splitlines()))
    assert count == 2
    assert [(row["genre"], row["labelled_by"]) for row in with_whom] == [
        ("jazz", "ann@example.org"), ("rock", "label-studio:7"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[{]", "is no JSON export of Label Studio"),
        (b'[{"data": {"audio": "x"}}]', "task 1: data.request_id"),
        (export(chosen("polka", 1)), "task 1: 'polka' is no label"),
        (export(chosen("rock", 1), item=-1), "task 1: data.item"),
        (export({**chosen("rock", 1), "result": [{"type": "choices", "from_name": "genre"}]}), "no list of choices"),
    ],
)
def test_a_bad_export_is_refused_with_its_task(data: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        label_lists.read_labels(data, "export.json", of_names(GENRES))


def test_label_studios_own_library_takes_the_page_and_the_tasks() -> None:
    """Where its library is installed; it is no dependency, for it brings sixty packages."""
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(label_studio.page(GENRES))
    interface.validate()
    value = label_studio.ChoiceValue(choices=["rock"])
    answer = label_studio.Prediction(model_version="m", score=0.5, result=[label_studio.ChoiceResult(value=value)])
    assert interface.validate_prediction(answer.model_dump(), return_errors=True) == []


def test_the_command_writes_tasks_and_the_page_and_takes_labels_of_a_person(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genre_assets.cli import app
    from genre_assets.cli.serving import review

    database, store, settings = platform
    store.put_bytes(settings.raw_bucket, "a.wav", b"sound")
    serve(platform, [changed(row, address=f"s3://{settings.raw_bucket}/a.wav") for row in log_rows(32, seed=4)])
    mine = settings.model_copy(update={"database_url": type(settings.database_url)(database.url)})
    monkeypatch.setattr(review, "stack_settings", lambda *_: mine)
    said = CliRunner().invoke(app, ["review", str(tmp_path / "t.json"), "--format", "label-studio", "--limit", "3"])
    assert said.exit_code == 0, said.output
    assert len(json.loads((tmp_path / "t.json").read_text())) == 3
    assert (tmp_path / "t.xml").exists()
    (tmp_path / "l.csv").write_text("request_id,item,genre,labelled_by\nq,0,rock,\nq,1,rock,bo\n")
    assert CliRunner().invoke(app, ["review", str(tmp_path / "l.csv"), "--take", "--by", "ann"]).exit_code == 0
    labels.take_new(database, store, settings)
    given = database.rows("SELECT item, labelled_by FROM served_labels ORDER BY item")
    assert [(row["item"], row["labelled_by"]) for row in given] == [(0, "ann"), (1, "bo")]
