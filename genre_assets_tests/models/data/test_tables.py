"""Ready feature tables: what is taken, what is refused and with which words, and the public tables as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.labels import of_names
from genre_assets.models.data import training
from genre_assets.models.data.quality import no_leakage
from genre_assets.models.data.tables import normalised, read_tables
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.models.conftest import COLUMNS, CUT, synthetic_rows

KNOWN = of_names(GENRES)


def table(**changes: Any) -> pd.DataFrame:
    return synthetic_rows(4, segments=1)[["genre", *COLUMNS]].assign(**changes)


def build(rows: pd.DataFrame) -> training.TrainingSet:
    return training.build(rows, COLUMNS, feature_set="gtzan37", feature_set_version="1", cut=CUT, labels=GENRES)


@pytest.fixture
def no_store() -> ObjectStore:
    return ObjectStore(None)  # type: ignore[arg-type]


def test_parquet_and_csv_make_the_same_training_set(tmp_path: Path, no_store: ObjectStore) -> None:
    table().to_parquet(tmp_path / "t.parquet")
    table().to_csv(tmp_path / "t.csv", index=False)
    first, second = (
        read_tables(str(tmp_path / name), COLUMNS, None, no_store).drop(columns=["key", "recording"])
        for name in ("t.parquet", "t.csv")
    )
    pd.testing.assert_frame_equal(first, second)


def test_a_table_in_the_store_is_read(store: ObjectStore, s3_settings: Settings) -> None:
    store.write_parquet(s3_settings.features_bucket, "ready/t.parquet", table())
    rows = read_tables(f"s3://{s3_settings.features_bucket}/ready/t.parquet", COLUMNS, None, store)
    assert build(rows).manifest.rows == 40


def test_rows_without_identity_are_recordings_of_their_own() -> None:
    made = build(normalised(table(), COLUMNS, KNOWN, name="t.parquet"))
    assert (made.manifest.rows, made.manifest.recordings, made.manifest.groups) == (40, 40, 40)


def test_artists_are_groups_and_a_missing_artist_is_its_own() -> None:
    artists = [f"a{i // 2}" for i in range(40)]
    artists[7] = None  # type: ignore[call-overload]
    made = build(normalised(table(artist=artists, track_id=range(40)), COLUMNS, KNOWN, name="t"))
    assert made.manifest.groups == 21


def test_given_splits_are_kept_and_copies_of_held_out_rows_leave_training(
    tmp_path: Path, no_store: ObjectStore
) -> None:
    train, held = table(), table().sample(frac=0.5, random_state=0)
    held[list(COLUMNS)] += 0.5
    held.iloc[:2] = train.iloc[:2]
    train.to_parquet(tmp_path / "a.parquet")
    held.to_parquet(tmp_path / "b.parquet")
    rows = read_tables(f"train={tmp_path}/a.parquet, validation={tmp_path}/b.parquet", COLUMNS, None, no_store)
    made = build(rows)
    assert made.manifest.splits == {"train": 38, "validation": 20, "test": 0}
    assert made.manifest.dropped == 2
    assert no_leakage(made).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="genre"), "no column genre"),
        (lambda t: t.drop(columns="beat_track"), r"1 missing columns \(beat_track\)"),
        (lambda t: t.assign(mood="sad"), r"1 extra columns \(mood\)"),
        (lambda t: t.replace({"genre": {"rock": "polka"}}), "unknown genres polka"),
        (lambda t: t.assign(split="holdout"), "unknown splits holdout"),
        (lambda t: t.assign(beat_track="fast"), "do not hold numbers: beat_track"),
        (lambda t: t.assign(beat_track=np.nan), "row 1, column beat_track: nan is no finite number"),
        (lambda t: t.assign(beat_track=[0.0, 1e300] + [0.0] * 38), "row 2, column beat_track: 1e.300 is no finite"),
    ],
)
def test_a_bad_table_is_refused_with_what_is_wrong(change: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        normalised(change(table()), COLUMNS, KNOWN, name="t.parquet")


def test_missing_and_unreadable_files_are_named(tmp_path: Path, no_store: ObjectStore) -> None:
    with pytest.raises(BadInput, match=r"gone\.parquet cannot be read"):
        read_tables(str(tmp_path / "gone.parquet"), COLUMNS, None, no_store)
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(BadInput, match="neither Parquet nor CSV"):
        read_tables(str(tmp_path / "text.parquet"), COLUMNS, None, no_store)


def test_a_split_for_one_table_only_is_refused(tmp_path: Path, no_store: ObjectStore) -> None:
    table().to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="or none"):
        read_tables(f"train={tmp_path}/a.parquet,{tmp_path}/a.parquet", COLUMNS, None, no_store)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda: synthetic_rows(genres=("jazz",)), "at least two genres; only jazz is there"),
        (lambda: synthetic_rows().iloc[:0], "the table is empty"),
        (
            lambda: pd.concat([synthetic_rows(), synthetic_rows(1, genres=("rock",), seed=1)]).query(
                "genre != 'rock' or recording == 'r-rock-1-0'"
            ),
            "rock has 1, and every genre needs 3",
        ),
        (lambda: synthetic_rows().drop(columns="beat_track"), "lacks 1 columns: beat_track"),
        (lambda: synthetic_rows().assign(beat_track=np.inf), "not finite: beat_track"),
    ],
)
def test_a_collection_that_nothing_can_be_learned_from_says_what_to_do(rows: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build(rows())


def test_the_same_rows_in_another_order_have_the_same_version_and_another_value_has_another() -> None:
    rows = synthetic_rows()
    version = build(rows).manifest.version
    assert build(rows.sample(frac=1, random_state=3)).manifest.version == version
    assert build(rows.assign(beat_track=rows["beat_track"] + (rows.index == 0))).manifest.version != version


def test_a_sidecar_groups_recordings_and_near_duplicates_join_groups() -> None:
    rows = synthetic_rows()
    groups = dict.fromkeys(rows.loc[rows["genre"] == "jazz", "key"], "Miles Davis")
    made = training.build(
        rows, COLUMNS, feature_set="f", feature_set_version="1", cut=CUT, groups=groups, labels=GENRES
    )
    assert made.manifest.groups == 37
    rows.loc[rows.index[-1], list(COLUMNS)] = rows.loc[rows.index[0], list(COLUMNS)]
    joined = training.build(rows, COLUMNS, feature_set="f", feature_set_version="1", cut=CUT, labels=GENRES)
    assert (joined.manifest.groups, joined.manifest.merged) == (39, 1)


def test_the_public_tables_are_taken_as_they_are(gtzan_tables: Path, no_store: ObjectStore) -> None:
    locations = ",".join(
        f"{split}={gtzan_tables / name}"
        for split, name in (("train", "train.parquet"), ("validation", "val.parquet"), ("test", "test.parquet"))
    )
    made = build(read_tables(locations, COLUMNS, None, no_store))
    assert made.manifest.splits["validation"] == 166
    assert made.manifest.splits["test"] == 78
    assert 0 < made.manifest.dropped < 20
    assert no_leakage(made).passed
