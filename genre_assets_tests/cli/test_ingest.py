"""`genre-assets ingest` as it is typed, into a real S3 whose address the environment states."""

import os
import subprocess
from pathlib import Path

import pytest

from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.live import COMMAND


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four clips of a genre whose folder writes it in another way, and one of nobody's genre."""
    for name in ("Hip-Hop/a.wav", "Hip-Hop/b.wav", "Hip-Hop/live/c.wav", "Hip-Hop/live/d.wav", "polka/e.wav"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound_file(music(0.5, seed=len(name))))
    return tmp_path / "music"


def command(settings: Settings, tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    stated = {
        "GENRE_HOME": str(tmp_path / "home"),
        "GENRE_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
        "GENRE_S3_ACCESS_KEY": settings.s3_access_key,
        "GENRE_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "COLUMNS": "200",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    return subprocess.run([COMMAND, *words], env=kept | stated, capture_output=True, text=True, timeout=120)


def ingest(settings: Settings, tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return command(settings, tmp_path, "ingest", *words)


def test_what_is_taken_and_what_is_left_out_is_said(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    first = ingest(s3_settings, tmp_path, str(folder), "--limit", "3", "--labels", "gtzan")
    assert first.returncode == 0, first.stderr
    assert "3 uploaded, 0 unchanged, in s3://genre-raw" in first.stdout
    said = first.stdout + first.stderr
    assert "left out: Hip-Hop/: 1 file over the limit of 3" in said
    assert "left out: polka/: 1 file in a folder that is no label's" in said
    assert "to take them as labels: genre-assets labels add polka, then ingest again" in said
    rest = ingest(s3_settings, tmp_path, str(folder))
    assert "1 uploaded, 3 unchanged" in rest.stdout
    keys = [item.key for item in store.list(s3_settings.raw_bucket) if item.key != "labels.yaml"]
    assert keys == ["hiphop/a.wav", "hiphop/b.wav", "hiphop/live/c.wav", "hiphop/live/d.wav"]


def test_without_a_label_set_every_folder_is_a_label(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    done = ingest(s3_settings, tmp_path, str(folder))
    assert "5 uploaded, 0 unchanged, in s3://genre-raw; 2 labels: hip_hop, polka" in done.stdout, done.stderr
    shown = command(s3_settings, tmp_path, "labels")
    assert "open: every folder is a label until the first training set" in shown.stdout, shown.stderr
    assert not store.exists(s3_settings.raw_bucket, "labels.yaml")


def test_labels_are_added_renamed_and_removed(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    ingest(s3_settings, tmp_path, str(folder), "--labels", "gtzan")
    store.put_bytes(s3_settings.raw_bucket, "polka/e.wav", (folder / "polka" / "e.wav").read_bytes())
    shown = command(s3_settings, tmp_path, "labels")
    assert "left out: 1 objects in polka/, which is no label's: genre-assets labels add polka" in shown.stderr
    for words in (["add", "polka", "--alias", "Schottisch"], ["rename", "hiphop", "rap"], ["remove", "rock"]):
        done = command(s3_settings, tmp_path, "labels", *words)
        assert done.returncode == 0, done.stderr
    assert store.exists(s3_settings.raw_bucket, "rap/live/c.wav")
    shown = command(s3_settings, tmp_path, "labels")
    assert "10 labels" in shown.stdout, shown.stderr
    assert "kept in labels.yaml" in shown.stdout
    assert "Schottisch" in shown.stdout
    assert "left out" not in shown.stderr
    refused = command(s3_settings, tmp_path, "labels", "add", "r&b")
    assert (refused.returncode, "a label cannot be named 'r&b'" in refused.stderr) == (1, True)


def test_a_label_set_that_cannot_be_read_is_refused(folder: Path, s3_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text("rock: 1")
    for place, said in (("gone.yaml", "the label set gone.yaml cannot be read"), ("labels.yaml", "expected a list")):
        done = ingest(
            s3_settings, tmp_path, str(folder), "--labels", place if "gone" in place else str(tmp_path / place)
        )
        assert done.returncode == 1
        assert said in done.stderr


def test_groups_that_a_folder_names_are_said(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    (folder / "metadata.csv").write_text("file_name,label,group\nHip-Hop/a.wav,hiphop,Crew\npolka/e.wav,disco,Crew\n")
    done = ingest(s3_settings, tmp_path, str(folder), "--labels", "gtzan")
    assert "2 groups new or changed, in s3://genre-raw/groups.csv" in done.stdout
    assert "5 uploaded" in done.stdout
    assert store.exists(s3_settings.raw_bucket, "disco/polka/e.wav")


def test_a_prefix_of_another_bucket_is_copied(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    store.ensure_buckets("elsewhere")
    store.upload_file("elsewhere", "old/Hip-Hop/a.wav", folder / "Hip-Hop" / "a.wav")
    done = ingest(s3_settings, tmp_path, "s3://elsewhere/old")
    assert "1 uploaded, 0 unchanged" in done.stdout, done.stderr
    assert store.exists(s3_settings.raw_bucket, "hip_hop/a.wav")
    refused = ingest(s3_settings, tmp_path, "s3://elsewhere/new")
    assert refused.returncode == 1
    assert "nothing is below s3://elsewhere/new" in refused.stderr


def test_a_limit_of_nothing_is_a_usage_error(s3_settings: Settings, folder: Path, tmp_path: Path) -> None:
    done = ingest(s3_settings, tmp_path, str(folder), "--limit", "0")
    assert done.returncode == 2
    assert "--limit" in done.stderr
