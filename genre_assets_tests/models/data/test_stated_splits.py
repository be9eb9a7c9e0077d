"""Splits that somebody stated: from `metadata.csv` through `genre-assets ingest` to the training set."""

from pathlib import Path

import pytest

from genre_assets.audio import splits
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models.data import training
from genre_assets.models.data.split import SPLITS, TEST, TRAIN, VALIDATION, assign_splits
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.cli.test_ingest import ingest
from genre_assets_tests.models.conftest import COLUMNS, CUT, synthetic_rows

HEAD = "file_name,label,group,split\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        path = tmp_path / "music" / "data" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound_file(music(0.5, seed=ord(name))))
    return tmp_path / "music"


def test_splits_of_a_metadata_csv_are_kept(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    rows = "data/a.wav,rock,,train\ndata/b.wav,rock,Band,Test\ndata/c.wav,rock,,\n"
    (folder / "metadata.csv").write_text(HEAD + rows)
    done = ingest(s3_settings, tmp_path, str(folder))
    assert "2 splits new or changed, in s3://genre-raw/splits.csv" in done.stdout, done.stderr
    assert splits.read(store, s3_settings) == {"rock/data/a.wav": "train", "rock/data/b.wav": "test"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [("data/a.wav,rock,,training\n", "metadata.csv, line 2: unknown split 'training'; known are train, validation, test"),
     ("data/a.wav,rock,Band,train\ndata/b.wav,rock,Band,test\n", "the group 'Band' would be in two splits: rock/data/a.wav is in train")],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_before_anything_is_sent(
    folder: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path, rows: str, said: str
) -> None:
    (folder / "metadata.csv").write_text(HEAD + rows)
    done = ingest(s3_settings, tmp_path, str(folder))
    assert (done.returncode, said in " ".join(done.stderr.split())) == (1, True), done.stderr
    assert list(store.list(s3_settings.raw_bucket)) == []


def test_a_clip_that_is_stated_to_be_held_out_never_trains() -> None:
    rows = synthetic_rows(6)
    keys = sorted(set(rows["key"]))
    stated = {key: SPLITS[number % 3] for number, key in enumerate(keys[::2])}
    made = training.build(
        rows, COLUMNS, feature_set="gtzan37", feature_set_version="test", cut=CUT, labels=GENRES, splits=stated
    )
    found = dict(zip(made.frame["key"], made.frame["split"], strict=True))
    assert {key: found[key] for key in stated} == stated
    with pytest.raises(BadInput, match="the group 'Band' would be in two splits"):
        training.build(
            rows, COLUMNS, feature_set="gtzan37", feature_set_version="test", cut=CUT, labels=GENRES,
            splits={keys[0]: TRAIN, keys[1]: TEST}, groups=dict.fromkeys(keys[:2], "Band"),
        )  # fmt: skip


def test_a_group_goes_where_its_stated_rows_are_and_of_joined_ones_to_the_farthest_from_training() -> None:
    names = ["a", "a", "b", "b", "c"]
    assert assign_splits(names, ["rock"] * 5, ["", "test", "train", "validation", "train"]) == [
        TEST, TEST, VALIDATION, VALIDATION, TRAIN,
    ]  # fmt: skip
    without = assign_splits(names, ["rock"] * 5)
    assert assign_splits(names, ["rock"] * 5, [""] * 5) == without


def test_a_file_of_splits_that_cannot_be_read_is_named_with_its_line(store: ObjectStore, s3_settings: Settings) -> None:
    store.put_bytes(s3_settings.raw_bucket, "splits.csv", b"key,split\nrock/a.wav,held\n")
    with pytest.raises(BadInput, match=r"splits.csv, line 2: unknown split 'held'"):
        splits.read(store, s3_settings)
