"""`genre-assets ingest --table` as it is typed: features that somebody else computed, up to a training set."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from genre_assets import labels
from genre_assets.models.assets import training_set
from genre_assets.models.data import ready, training_store
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.cli.test_ingest import command
from genre_assets_tests.models.conftest import COLUMNS, synthetic_rows

GENRES = ("jazz", "metal", "rock")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six recordings of each of three labels, one written in another way, without keys."""
    rows = synthetic_rows(6, segments=1, genres=GENRES)[["genre", *COLUMNS]]
    rows.assign(genre=rows["genre"].replace("jazz", "Jazz")).to_parquet(tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def train(store: ObjectStore, settings: Settings) -> None:
    resources = {"settings": settings, "store": store}
    assert dg.materialize([dg.AssetSpec("features"), training_set], resources=resources).success


def test_a_table_becomes_the_training_set_of_its_feature_set_and_its_labels_the_label_set(
    table: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    done = command(s3_settings, tmp_path, "ingest", "--table", str(table), "--feature-set", "gtzan37")
    assert done.returncode == 0, done.stderr
    assert (
        "18 rows of 3 labels (jazz, metal, rock), in s3://genre-features/ready; next: genre-assets run" in done.stdout
    )
    assert labels.names(store, s3_settings) == GENRES
    assert s3_settings.feature_set == "default", "what audio gets is another matter"
    train(store, s3_settings)
    manifest = training_store.read(store, s3_settings).manifest
    assert (manifest.feature_set, manifest.genres, manifest.rows) == ("gtzan37", GENRES, 18)


def test_a_path_is_what_the_shell_means_by_it_and_splits_may_come_as_files(
    table: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = synthetic_rows(2, segments=1, genres=GENRES, seed=5)[["genre", *COLUMNS]]
    held.to_csv(tmp_path / "held.csv", index=False)
    monkeypatch.chdir(tmp_path)
    words = ("--table", "train.parquet", "--validation", "held.csv", "--feature-set", "gtzan37")
    done = command(s3_settings, tmp_path / "away", "ingest", *words)
    assert done.returncode == 0, done.stderr
    train(store, s3_settings)
    assert dict(training_store.read(store, s3_settings).manifest.splits) == {"train": 18, "validation": 6, "test": 0}


def test_a_table_of_other_columns_is_refused_with_the_nearest_names_and_nothing_is_kept(
    table: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    renamed = pd.read_parquet(table).rename(columns={COLUMNS[0]: f"{COLUMNS[0]}s"})
    renamed.to_parquet(tmp_path / "other.parquet")
    refused = command(
        s3_settings, tmp_path, "ingest", "--table", str(tmp_path / "other.parquet"), "--feature-set", "gtzan37"
    )
    assert refused.returncode == 1
    said = " ".join(refused.stderr.split())
    assert (
        f"1 missing columns ({COLUMNS[0]}) and 1 extra columns ({COLUMNS[0]}s). Perhaps {COLUMNS[0]}s for {COLUMNS[0]}?"
        in said
    )
    assert ready.find(store, s3_settings) is None
    assert labels.read_kept(store, s3_settings) is None


def test_labels_of_a_table_must_be_of_the_set_once_it_is_kept(
    table: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path
) -> None:
    labels.keep(store, s3_settings, labels.of_names(["jazz", "rock"]))
    refused = command(s3_settings, tmp_path, "ingest", "--table", str(table), "--feature-set", "gtzan37")
    assert (refused.returncode, "unknown genres metal; known are jazz, rock" in refused.stderr) == (1, True), (
        refused.stderr
    )


def test_tables_are_taken_away_again(table: Path, store: ObjectStore, s3_settings: Settings, tmp_path: Path) -> None:
    command(s3_settings, tmp_path, "ingest", "--table", str(table), "--feature-set", "gtzan37")
    assert "the ready tables are removed" in command(s3_settings, tmp_path, "ingest", "--remove-tables").stdout
    assert "there are no ready tables" in command(s3_settings, tmp_path, "ingest", "--remove-tables").stdout
    assert not [o.key for o in store.list(s3_settings.features_bucket, "ready/")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of"),
        (("music", "--remove-tables"), "give one of"),
        (("music", "--feature-set", "gtzan37"), "say something of --table"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: tuple[str, ...], said: str, s3_settings: Settings, tmp_path: Path
) -> None:
    refused = command(s3_settings, tmp_path, "ingest", *words)
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
