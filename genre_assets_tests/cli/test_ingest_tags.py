"""`genre-assets ingest` and the tags of files: a group of who has no other."""

import io
from pathlib import Path

import pytest
import soundfile

from genre_assets.audio import groups
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import RATE, music
from genre_assets_tests.cli.test_ingest import ingest

SOUND = music(0.5)
FILES = {
    "rock/a.flac": {"artist": "The  Band", "album": "One"},
    "rock/b.ogg": {"artist": "the band"},
    "rock/c.wav": {"artist": "THE BAND"},
    "rock/d.flac": {"artist": "Various Artists", "album": "Hits"},
    "rock/e.flac": {"artist": " "},
    "rock/f.aiff": {},
    "rock/stated.flac": {"artist": "The Band"},
    "rock/lies.flac": None,
}
TAGS = {f"rock/{name}": "the band" for name in ("a.flac", "b.ogg", "c.wav")} | {"rock/d.flac": "album: hits"}


def tagged(container: str, tags: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format=container.upper()) as output:
        for name, value in tags.items():
            setattr(output, name, value)
        output.write(SOUND)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, tags in FILES.items():
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"fLaC" + bytes(500) if tags is None else tagged(path.suffix[1:], tags))
    (tmp_path / "music" / "groups.csv").write_text("key,group\nrock/stated.flac,Somebody Else\n")
    return tmp_path / "music"


def test_a_new_file_is_of_the_group_that_its_tags_name_unless_a_table_says_otherwise(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    done = ingest(s3_settings, tmp_path, str(folder))
    assert "4 files have the group that their tags name" in done.stdout, done.stderr
    assert groups.read(store, s3_settings) == TAGS | {"rock/stated.flac": "Somebody Else"}
    lines = store.get_bytes(s3_settings.raw_bucket, "groups.csv").decode().splitlines()
    assert lines[:2] == ["key,group,source", "rock/a.flac,the band,tags"]
    assert lines[-1] == "rock/stated.flac,Somebody Else,"

    (folder / "groups.csv").write_text("key,group\nrock/a.flac,By Hand\n")
    (folder / "rock" / "e.flac").write_bytes(tagged("flac", {"artist": "New"}))  # changed, and not new
    (folder / "rock" / "g.flac").write_bytes(tagged("flac", {"artist": "by  HAND"}))
    again = ingest(s3_settings, tmp_path, str(folder))
    assert "1 files have the group" in again.stdout, again.stderr
    known = groups.read(store, s3_settings)
    assert (known["rock/a.flac"], known["rock/g.flac"]) == ("By Hand", "By Hand")
    assert "rock/e.flac" not in known
    assert "rock/a.flac,By Hand," in store.get_bytes(s3_settings.raw_bucket, "groups.csv").decode().splitlines()


def test_tags_are_left_out_when_they_are_not_wanted(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    done = ingest(s3_settings, tmp_path, str(folder), "--no-tags")
    assert "tags name" not in done.stdout
    assert groups.read(store, s3_settings) == {"rock/stated.flac": "Somebody Else"}


def test_copies_keep_where_their_group_came_from(store: ObjectStore, s3_settings: Settings) -> None:
    groups.add_from_tags(store, s3_settings, {"rock/a.flac": "the band"})
    groups.add_for_copies(store, s3_settings, {"rock/a.flac": "metal/a.flac", "rock/b.flac": "metal/b.flac"})
    assert "metal/a.flac,the band,tags" in store.get_bytes(s3_settings.raw_bucket, "groups.csv").decode()


@pytest.mark.parametrize(
    ("tags", "group"),
    [({"artist": "Björk\u200b "}, "björk"), ({"artist": "ＡＢＣ"}, "abc"), ({"artist": "VA", "album_artist": "Trio"}, "trio"),
     ({"artist": "unknown artist", "album": "unknown"}, ""), ({"album": "A\0B"}, "album: a b"), ({}, "")],
)  # fmt: skip
def test_a_group_is_a_name_without_its_spelling(tags: dict[str, str], group: str) -> None:
    assert groups.of_tags(tags) == group
