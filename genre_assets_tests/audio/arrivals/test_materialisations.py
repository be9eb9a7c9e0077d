"""What the page of a genre shows is what its tables hold, whichever run wrote them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pytest

from genre_assets.audio import assets
from genre_assets.audio.arrivals import materialised
from genre_assets.audio.tables import features as feature_tables
from genre_assets.audio.tables import inventory
from genre_assets.audio.tables.refresh import Refreshed, refresh
from genre_assets.definitions import build_defs
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.stack.orchestrate import over_all
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import add_ten, keep_ten

SOUND = music(6, seed=1)
COPY = sound_file(SOUND * np.float32(0.3), container="FLAC")


class Platform:
    """The job `ingest` on an instance of its own."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, store: ObjectStore, resources: Any) -> None:
        self.instance, self.settings, self.store = instance, settings, store
        self.job = build_defs(settings, resources).resolve_job_def("ingest")

    def put(self, key: str, data: bytes) -> None:
        self.store.put_bytes(self.settings.raw_bucket, key, data)

    def ingest(self, *genres: str, succeeds: bool = True) -> dict[str, set[str]]:
        """Run the job for one genre, or for the range from the first to the last; which genres it materialised, by asset."""
        first, last = genres[0], genres[-1]
        done = self.job.execute_in_process(
            instance=self.instance,
            partition_key=first if first == last else None,
            tags=None if first == last else over_all(genres),
            raise_on_error=succeeds,
        )
        assert done.success is succeeds
        made: dict[str, set[str]] = {"raw_audio": set(), "features": set()}
        for event in done.all_events:
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key and event.partition:
                made[event.asset_key.to_user_string()].add(event.partition)
        return made

    def page(self, asset: str, genre: str) -> dict[str, Any]:
        """The metadata of the latest materialisation."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[genre])
        (record,) = self.instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization
        return {name: value.value for name, value in record.asset_materialization.metadata.items()}

    def finding(self, asset: str, check: str) -> dg.AssetCheckEvaluation:
        """The latest evaluation of a check."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        (record,) = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.evaluation
        return record.evaluation

    def assert_pages_are_right(self) -> None:
        """Every genre's page has the counts of its tables."""
        for genre in GENRES:
            table = inventory.read(self.store, self.settings, genre)
            page = self.page("raw_audio", genre)
            assert (page["files"], page["usable"]) == (len(table), len(inventory.usable(table))), genre
            rows = feature_tables.read(self.store, self.settings, genre)
            assert self.page("features", genre)["dagster/row_count"] == len(rows), genre


@pytest.fixture
def platform(store: ObjectStore, settings: Settings, resources: dict[str, Any]) -> Iterator[Platform]:
    """All genres are made; rock has the only file."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = Platform(add_ten(instance), settings, store, resources)
        keep_ten(store, settings)
        made.put("rock/a.wav", sound_file(SOUND))
        made.ingest(*GENRES)
        yield made


def test_a_genre_whose_table_another_genre_changed_is_materialised_with_its_true_counts(platform: Platform) -> None:
    platform.put("blues/copy.flac", COPY)
    assert platform.ingest("blues") == {"raw_audio": {"blues", "rock"}, "features": {"blues", "rock"}}
    platform.assert_pages_are_right()
    assert platform.page("raw_audio", "rock")["in quarantine"] == 1
    assert platform.page("features", "rock")["in this run"] == (
        "its table was written, because of a change in another genre"
    )
    platform.store.delete(platform.settings.raw_bucket, "blues/copy.flac")
    assert platform.ingest("blues") == {"raw_audio": {"blues", "rock"}, "features": {"blues", "rock"}}
    platform.assert_pages_are_right()
    assert platform.page("raw_audio", "rock")["usable"] == 1


def test_no_genre_is_materialised_whose_tables_are_as_they_were(platform: Platform) -> None:
    platform.put("jazz/new.wav", sound_file(music(3, seed=2)))
    assert platform.ingest("jazz") == {"raw_audio": {"jazz"}, "features": {"jazz"}}
    assert platform.ingest("pop") == {"raw_audio": {"pop"}, "features": {"pop"}}


def test_a_genre_within_the_range_that_did_not_change_says_so(platform: Platform) -> None:
    platform.put("blues/new.wav", sound_file(music(3, seed=2)))
    platform.put("country/new.wav", sound_file(music(3, seed=3)))
    platform.ingest("blues", "country")
    for asset in ("raw_audio", "features"):
        told = {genre: platform.page(asset, genre)["in this run"] for genre in ("blues", "classical", "country")}
        written, nothing = "its table was written", "nothing: its table is as it was"
        assert told == {"blues": written, "classical": nothing, "country": written}


def test_what_a_killed_run_wrote_and_did_not_say_is_said_by_the_next_one(platform: Platform) -> None:
    platform.put("blues/copy.flac", COPY)
    inventory.update(platform.store, platform.settings, ["blues"])  # and here it was killed
    made = platform.ingest("blues")
    assert made == {"raw_audio": {"blues", "rock"}, "features": {"blues", "rock"}}
    platform.assert_pages_are_right()
    platform.store.delete(platform.settings.raw_bucket, "blues/copy.flac")
    inventory.update(platform.store, platform.settings, ["blues"])
    refresh(platform.store, platform.settings, ["blues"])  # or here
    made = platform.ingest("pop")
    assert made == {"raw_audio": {"blues", "pop", "rock"}, "features": {"pop", "rock"}}, "blues had no features before"
    platform.assert_pages_are_right()
    assert platform.page("features", "rock")["in this run"].startswith("nothing: an earlier run")


def test_a_file_that_changes_while_a_run_goes_on_fails_nothing_and_is_due(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("overwritten", 2), ("deleted", 3), ("kept", 4)):
        platform.put(f"rock/{name}.wav", sound_file(music(3, seed=seed)))

    def after_an_upload(*arguments: Any, **options: Any) -> Refreshed:
        platform.put("rock/overwritten.wav", sound_file(music(3, seed=5)))
        platform.store.delete(platform.settings.raw_bucket, "rock/deleted.wav")
        return refresh(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("genre_assets.audio.tables.refresh.refresh", after_an_upload)
        platform.ingest("rock")
    keys = set(feature_tables.read(platform.store, platform.settings, "rock")["key"])
    assert keys == {"rock/a.wav", "rock/kept.wav"}
    found = platform.finding("features", "features_match_the_inventory")
    assert found.passed
    assert found.metadata["changed since the inventory"].value == "rock/deleted.wav, rock/overwritten.wav"
    assert "rock" not in materialised.digests(platform.store, platform.settings), "the sensor asks for it again"
    platform.ingest("rock")
    keys = set(feature_tables.read(platform.store, platform.settings, "rock")["key"])
    assert keys == {"rock/a.wav", "rock/kept.wav", "rock/overwritten.wav"}
    assert platform.finding("features", "features_match_the_inventory").metadata[
        "changed since the inventory"
    ].value == ("none")


def test_a_genre_that_was_never_asked_for_is_not_claimed(platform: Platform, resources: dict[str, Any]) -> None:
    """Another feature set has no table of the other genres yet: nothing to show, and nothing to fail about."""
    settings = platform.settings.model_copy(update={"feature_set": "default", "segment_seconds": 30.0})
    given = {**resources, "settings": dg.ResourceDefinition.hardcoded_resource(settings)}
    other = Platform(platform.instance, settings, platform.store, given)
    assert other.ingest("jazz")["features"] == {"jazz"}


def test_both_assets_take_turns_with_every_run_that_writes_their_tables() -> None:
    assert [set(asset.pools) for asset in map(spec_of, assets.ASSETS)] == [{"audio"}, {"audio"}]


def spec_of(asset: dg.AssetsDefinition) -> Any:
    return build_defs().resolve_asset_graph().get(asset.key)
