"""Features that somebody else computed, from a table to a live ensemble that answers audio with the same feature set."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.extract_paths import extract_paths
from genre_assets.database import Database
from genre_assets.inference.request_log import read
from genre_assets.settings import Settings, load_settings
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.audio.sounds import sound_file
from genre_assets_tests.integration.test_any_labels import SOUNDS, command, write
from genre_assets_tests.live import logs
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def from_a_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack with no audio in its bucket, built from a table of the old feature set."""
    folder = tmp_path_factory.mktemp("table")
    home, table = folder / "home", folder / "train.parquet"
    for seed, (label, sound) in enumerate(SOUNDS.items()):
        write(folder / "audio", label, sound, seed)
    rows = extract_paths([folder / "audio"], feature_set="gtzan37", settings=load_settings(home))
    rows["genre"] = [Path(path).parent.name for path in rows["path"]]
    rows.drop(columns="error").rename(columns={"path": "key"}).to_parquet(table)
    try:
        for words in (
            ("up",),
            ("ingest", "--table", str(table), "--feature-set", "gtzan37"),
            ("run", "build"),
        ):
            done = command(home, *words)
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}\n{logs(home)}"
        yield load_settings(home)
    finally:
        command(home, "down")


def test_audio_is_answered_by_a_model_of_the_tables_feature_set(from_a_table: Settings) -> None:
    assert from_a_table.feature_set == "default", "what audio would get is another matter"
    fresh = np.random.default_rng(99)
    with GenreClient(from_a_table.triton_grpc) as client:
        assert client.labels == ["bursts", "clicks", "tones"]
        answers = client.predict([sound_file(SOUNDS[label](fresh)) for label in client.labels])
    assert [answer.label for answer in answers] == ["bursts", "clicks", "tones"]
    database = Database(from_a_table.database_url.get_secret_value())
    until(lambda: len(read(database)) >= len(answers), "the answers are logged", 60)
    assert set(read(database)["feature_set"]) == {"gtzan37"}
