"""Runs of the audio stage in a real Dagster: one for all that changed in a tick, and never two that write the same tables."""

import subprocess
import uuid
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from genre_assets.genres import GENRES
from genre_assets.stack.services import graphql
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.live_dagster import LiveDagster, Run, live_dagster
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.timeout(600)
CHECKS = {
    "raw_audio": {"every_folder_is_a_label", "no_conflicting_labels", "quarantine_share"},
    "features": {"features_are_finite", "features_have_their_schema", "features_match_the_inventory"},
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDagster]:
    """Dagster, S3 and PostgreSQL, and a file in every genre, whose tables are made."""
    variables = {
        "GENRE_WORKERS": "1",
        "GENRE_FEATURE_SET": "gtzan37",
        "GENRE_SENSOR_INTERVAL_SECONDS": "1",
        "GENRE_QUARANTINE_WARN_SHARE": "0.5",
        "GENRE_MIN_CLIPS_PER_GENRE": "1000",  # a build ends where the training set begins
    }
    with live_dagster(tmp_path_factory.mktemp("live"), **variables) as made:
        for genre in GENRES:
            made.put(f"{genre}/first.wav", new_sound())
        with made.daemon():
            made.until_settled()
        yield made


def new_sound(seconds: float = 2.0) -> bytes:
    """A recording that nobody has heard yet."""
    return sound_file(music(seconds, seed=uuid.uuid4().int % 2**32))


def new_file(live: LiveDagster, genre: str) -> None:
    live.put(f"{genre}/{uuid.uuid4().hex}.wav", new_sound())


def runs_since(live: LiveDagster, before: list[Run]) -> list[Run]:
    """The runs that are new, all of them finished, the newest first. Each ended before another began."""
    known = {run.run_id for run in before}
    new = [run for run in live.until_settled() if run.run_id not in known]
    in_turn = sorted(new, key=lambda run: run.began or 0.0)
    assert all(first.ended and next_.began and first.ended <= next_.began for first, next_ in pairwise(in_turn)), new
    return new


def succeeds(*commands: "subprocess.Popen[str]") -> None:
    for command in commands:
        said, _ = command.communicate(timeout=200)
        assert command.returncode == 0, said


def assert_evaluated(live: LiveDagster, run_id: str, failing: Collection[str] = ()) -> None:
    """Every check of the audio stage shows a result of this run, for what was materialised last."""
    for asset, names in CHECKS.items():
        expected = {
            check: {"status": "FAILED" if check in failing else "SUCCEEDED", "runId": run_id} for check in names
        }
        assert live.checks(asset) == expected, asset


@pytest.mark.parametrize(
    "changed", [("blues", "rock"), pytest.param(("classical", "jazz", "reggae"), marks=pytest.mark.long)]
)
def test_genres_that_change_in_one_tick_are_one_run_and_every_check_is_evaluated(
    live: LiveDagster, changed: tuple[str, ...]
) -> None:
    before = live.runs()
    for genre in changed:
        new_file(live, genre)
    with live.daemon():
        (run,) = runs_since(live, before)
    assert (run.job, run.status) == ("ingest", "SUCCESS")
    assert_evaluated(live, run.run_id)
    assert run.tags["genre/reason"] == f"changed in the raw bucket: {', '.join(changed)}"
    for asset in CHECKS:
        told = {genre: facts["in this run"] for genre, facts in live.materialised(asset, run.run_id).items()}
        assert {genre for genre, what in told.items() if what == "its table was written"} == set(changed)
        assert set(told.values()) <= {"its table was written", "nothing: its table is as it was"}
    assert live.number("features", run.run_id, "extracted") == len(changed)


@pytest.mark.long
def test_a_genre_that_is_emptied_beside_another_that_grows_is_one_run(live: LiveDagster) -> None:
    before = live.runs()
    kept = {item.key: live.store.get_bytes(live.settings.raw_bucket, item.key)
            for item in live.store.list(live.settings.raw_bucket, "rock/")}  # fmt: skip
    new_file(live, "country")
    for key in kept:
        live.store.delete(live.settings.raw_bucket, key)
    with live.daemon():
        (run,) = runs_since(live, before)
    assert_evaluated(live, run.run_id)
    assert live.page("raw_audio", "rock").facts["files"] == 0
    assert live.page("features", "rock").facts["dagster/row_count"] == 0


@pytest.mark.long
def test_a_genre_whose_table_is_rewritten_for_anothers_sake_is_materialised_in_that_run(live: LiveDagster) -> None:
    before = live.runs()
    sound = music(6, seed=uuid.uuid4().int % 2**32)
    live.put("reggae/original.wav", sound_file(sound))
    with live.daemon():
        runs_since(live, before)
        usable = live.page("raw_audio", "reggae").facts["usable"]
        rows = live.page("features", "reggae").facts["dagster/row_count"]
        before = live.runs()
        live.put("blues/quieter.flac", sound_file(sound * np.float32(0.3), container="FLAC"))
        (run,) = runs_since(live, before)
        assert run.tags["dagster/partition"] == "blues"
        assert_evaluated(live, run.run_id, failing=["no_conflicting_labels"])
        inventory, features = live.page("raw_audio", "reggae"), live.page("features", "reggae")
        assert (inventory.run_id, features.run_id) == (run.run_id, run.run_id)
        assert (inventory.facts["usable"], features.facts["dagster/row_count"]) == (usable - 1, rows - 1)
        assert set(live.materialised("raw_audio", run.run_id)) == {"blues", "reggae"}, "and no other"
        before = live.runs()
        live.store.delete(live.settings.raw_bucket, "blues/quieter.flac")
        (run,) = runs_since(live, before)
        assert_evaluated(live, run.run_id)
        assert live.page("raw_audio", "reggae").facts["usable"] == usable


@pytest.mark.long
def test_runs_of_one_bucket_that_are_launched_at_once_take_turns(live: LiveDagster) -> None:
    """All of them wait in the queue when it begins to move: that is as much at once as can be."""
    before = live.runs()
    genres = ("classical", "hiphop", "pop")
    for genre in genres:
        new_file(live, genre)
    launched = [live.launch("ingest"), live.launch("build"), live.launch("ingest")]
    with live.daemon():
        runs = runs_since(live, before)
    assert {run.run_id for run in runs} == set(launched), "and the sensor asked for none"
    assert [live.number("raw_audio", run, "inspected") for run in launched] == [len(genres), 0, 0]
    assert [live.number("features", run, "extracted") for run in launched] == [len(genres), 0, 0]
    status = {run.run_id: run.status for run in runs}
    assert [status[run] for run in launched] == ["SUCCESS", "FAILURE", "SUCCESS"]
    (failure,) = graphql.progress(live.url, launched[1]).failures[:1]
    assert failure.startswith("training_set:"), "the build has too few clips to go on"
    assert_evaluated(live, launched[2])


def test_ingest_and_then_run_as_the_readme_has_it(live: LiveDagster, tmp_path: Path) -> None:
    before = live.runs()
    for genre in ("disco", "jazz", "pop"):
        (tmp_path / genre).mkdir()
        (tmp_path / genre / f"{uuid.uuid4().hex}.wav").write_bytes(new_sound())
    with live.daemon():
        commands = [live.command("ingest", str(tmp_path)), live.command("ingest", str(tmp_path))]
        succeeds(*commands)
        succeeds(live.command("run", "ingest"))
        runs = runs_since(live, before)
    assert {run.status for run in runs} == {"SUCCESS"}
    assert sum(live.number("features", run.run_id, "extracted") for run in runs) == 3
    assert_evaluated(live, max(runs, key=lambda run: run.ended or 0.0).run_id)


@pytest.mark.long
def test_what_comes_during_a_build_waits_for_its_end(live: LiveDagster) -> None:
    before = live.runs()
    new_file(live, "metal")
    build = live.launch("build")
    with live.daemon():
        until(lambda: graphql.progress(live.url, build).started != [], "the build has begun", 60)
        new_file(live, "disco")
        new_file(live, "jazz")
        runs = runs_since(live, before)
    assert {run.job for run in runs} <= {"build", "ingest"}
    assert sum(live.number("features", run.run_id, "extracted") for run in runs) == 3
    assert_evaluated(live, runs[0].run_id)


def test_a_run_that_is_killed_lets_the_next_one_do_its_work(live: LiveDagster) -> None:
    before = live.runs()
    for genre in ("blues", "hiphop", "rock"):
        live.put(f"{genre}/{uuid.uuid4().hex}.wav", new_sound(20.0))
    killed, other = live.launch("ingest"), live.launch("ingest")
    with live.daemon():
        live.kill_at_work(killed)
        runs = runs_since(live, before)
    assert {run.run_id: run.status for run in runs} == {killed: "FAILURE", other: "SUCCESS"}
    assert_evaluated(live, other)
    for genre in GENRES:
        assert live.page("raw_audio", genre).run_id == live.page("features", genre).run_id == other


def test_the_queue_knows_from_the_start_that_such_runs_take_turns(live: LiveDagster) -> None:
    """Dagster makes a pool known when a run of it is first taken from the queue, and lets all of that moment through."""
    text = "{instance {concurrencyLimits {concurrencyKey limit}}}"
    limits = graphql.query(live.url, text)["instance"]["concurrencyLimits"]
    assert {limit["concurrencyKey"]: limit["limit"] for limit in limits} == {"audio": 1, "build": 1}
