"""S3 is slow, refuses, hangs, answers 503 or cuts bodies: each command and asset says so, and goes on when it is back."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets.audio import assets, checks
from genre_assets.audio.tables import features, inventory
from genre_assets.database import Database
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.faults.conftest import FULL, assert_says, command, straight_to
from genre_assets_tests.faults.proxy import FaultProxy, Kind
from genre_assets_tests.labelled import add_ten

pytestmark = pytest.mark.stack
RANGE = {"dagster/asset_partition_range_start": GENRES[0], "dagster/asset_partition_range_end": GENRES[-1]}
CUT = 30_000  # bytes: listings and small tables pass, audio does not
FAULTS: list[Kind] = ["refuse", "unavailable", "cut"]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    for number, genre in enumerate(("rock", "pop", "jazz")):
        (folder / genre).mkdir(parents=True)
        (folder / genre / "a.wav").write_bytes(sound_file(music(4, seed=number)))
    return folder


def materialise(settings: Settings, database: Database) -> dg.ExecuteInProcessResult:
    """`raw_audio` and `features` for all genres, as the job `ingest` does."""
    store = ObjectStore(s3_client(settings))
    resources: dict[str, Any] = {
        "settings": settings,
        "store": dg.ResourceDefinition.hardcoded_resource(store),
        "database": dg.ResourceDefinition.hardcoded_resource(database),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [*assets.ASSETS, *checks.CHECKS],
            resources=resources,
            instance=add_ten(instance),
            tags=RANGE,
            raise_on_error=False,
        )


@pytest.mark.parametrize("fault", FAULTS)
def test_an_upload_that_fails_says_so_and_the_same_command_completes_it(
    behind: Settings, s3_settings: Settings, s3_proxy: FaultProxy, audio: Path, fault: Kind
) -> None:
    with s3_proxy.behaving(fault, amount=CUT):
        assert_says(command(behind, "ingest", str(audio)), "S3", behind.raw_bucket)
    done = command(behind, "ingest", str(audio))
    assert done.returncode == 0, done.stderr
    store = straight_to(behind, s3_settings)
    sent = {entry.key: store.get_bytes(behind.raw_bucket, entry.key) for entry in store.list(behind.raw_bucket)}
    assert sent == {path.relative_to(audio).as_posix(): path.read_bytes() for path in audio.rglob("*.wav")}


def test_a_slow_store_is_waited_for(behind: Settings, s3_proxy: FaultProxy, audio: Path) -> None:
    with s3_proxy.behaving("slow", seconds=0.05):
        done = command(behind, "ingest", str(audio))
    assert done.returncode == 0, done.stderr
    assert "3 uploaded" in done.stdout


@pytest.mark.parametrize("fault", FAULTS if FULL else ["cut"])
def test_features_that_cannot_be_read_or_written_fail_their_step_and_the_next_run_completes(
    behind: Settings, s3_settings: Settings, s3_proxy: FaultProxy, database: Database, audio: Path, fault: Kind
) -> None:
    store = straight_to(behind, s3_settings)
    for path in audio.rglob("*.wav"):
        store.put_bytes(behind.raw_bucket, path.relative_to(audio).as_posix(), path.read_bytes())
    with s3_proxy.behaving(fault, amount=CUT):
        failed = materialise(behind, database)
    assert not failed.success
    said = " ".join(failure_messages(failed))
    assert "TransientFailure" in said, said
    assert "S3" in said
    assert materialise(behind, database).success
    table = inventory.read_all(store, behind)
    assert set(table["verdict"]) == {"ok"}, "a fault of the store is not a fault of a file"
    keys = {key for genre in ("rock", "pop", "jazz") for key in features.read(store, behind, genre)["key"]}
    assert keys == {"rock/a.wav", "pop/a.wav", "jazz/a.wav"}


def failure_messages(result: dg.ExecuteInProcessResult) -> list[str]:
    said = []
    for event in result.filter_events(lambda e: e.event_type is dg.DagsterEventType.STEP_FAILURE):
        error = event.step_failure_data.error
        while error is not None:
            said.append(f"{error.cls_name}: {error.message}")
            error = error.cause
    return said
