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


def ingest(settings: Settings, tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    stated = {
        "GENRE_HOME": str(tmp_path / "home"),
        "GENRE_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
        "GENRE_S3_ACCESS_KEY": settings.s3_access_key,
        "GENRE_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "COLUMNS": "200",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    return subprocess.run([COMMAND, "ingest", *words], env=kept | stated, capture_output=True, text=True, timeout=120)


def test_what_is_taken_and_what_is_left_out_is_said(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    first = ingest(s3_settings, tmp_path, str(folder), "--limit", "3")
    assert first.returncode == 0, first.stderr
    assert "3 uploaded, 0 unchanged, in s3://genre-raw" in first.stdout
    said = first.stdout + first.stderr
    assert "left out: Hip-Hop/: 1 file over the limit of 3" in said
    assert "left out: polka/: 1 file in a folder that is not named like a genre" in said
    rest = ingest(s3_settings, tmp_path, str(folder))
    assert "1 uploaded, 3 unchanged" in rest.stdout
    keys = [item.key for item in store.list(s3_settings.raw_bucket)]
    assert keys == ["hiphop/a.wav", "hiphop/b.wav", "hiphop/live/c.wav", "hiphop/live/d.wav"]


def test_groups_that_a_folder_names_are_said(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    (folder / "metadata.csv").write_text("file_name,label,group\nHip-Hop/a.wav,hiphop,Crew\npolka/e.wav,disco,Crew\n")
    done = ingest(s3_settings, tmp_path, str(folder))
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
    assert store.exists(s3_settings.raw_bucket, "hiphop/a.wav")
    refused = ingest(s3_settings, tmp_path, "s3://elsewhere/new")
    assert refused.returncode == 1
    assert "nothing is below s3://elsewhere/new" in refused.stderr


def test_a_limit_of_nothing_is_a_usage_error(s3_settings: Settings, folder: Path, tmp_path: Path) -> None:
    done = ingest(s3_settings, tmp_path, str(folder), "--limit", "0")
    assert done.returncode == 2
    assert "--limit" in done.stderr
