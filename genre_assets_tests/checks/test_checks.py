"""Every asset check of the definitions passes on sound data and fails, through Dagster, on what it guards against."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from genre_assets.database import Database
from genre_assets.definitions import build_defs
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore
from genre_assets_tests.checks import audio_cases, model_cases, packaging_cases, serving_cases
from genre_assets_tests.checks.world import Asked, Case, World
from genre_assets_tests.labelled import add_ten, keep_ten

CASES = [*audio_cases.CASES, *model_cases.CASES, *packaging_cases.CASES, *serving_cases.CASES]


@pytest.fixture
def world(
    database: Database, store: ObjectStore, s3_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    settings = s3_settings.model_copy(
        update={
            "home": tmp_path, "feature_set": "gtzan37", "segment_seconds": 30.0, "workers": 1,
            "environment_source": "local", "window_size": 32, "window_minimum": 24, "window_max_seconds": 1e9,
            "window_oldest_seconds": 1e9,
        }
    )  # fmt: skip
    with dg.DagsterInstance.ephemeral() as instance:
        keep_ten(store, settings)
        yield World(settings, store, database, tmp_path, add_ten(instance), monkeypatch)


def test_every_check_of_the_definitions_has_a_case() -> None:
    defined = build_defs(load_settings()).resolve_asset_graph().asset_check_keys
    assert len(defined) > 20
    assert {case.key for case in CASES} == set(defined)


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.check}" for number, case in enumerate(CASES)])
def test_a_check_passes_on_sound_data_and_fails_on_what_it_guards_against(world: World, case: Case) -> None:
    case.sound(world)
    before = ask(world, case)
    assert before.said.passed, before.said.description
    case.spoil(world)
    after = ask(world, case)
    assert not after.said.passed
    assert after.said.severity is case.severity
    assert re.search(case.says, after.said.description or ""), after.said.description
    assert after.run_succeeded is not case.stops


def ask(world: World, case: Case) -> Asked:
    """Ask the check, which changes nothing by being asked, and gives figures whether it passes or fails."""
    kept = world.kept()
    asked = world.ask(case.key)
    assert world.kept() == kept or not case.only_looks
    assert asked.said.description
    assert asked.said.metadata
    return asked


def test_an_environment_that_only_the_bucket_has_is_looked_at_and_not_kept(world: World) -> None:
    packaging_cases.built(world)
    packaging_cases.only_in_the_bucket(world)
    for check in ("numpy_fits_the_server", "every_import_works", "interpreter_matches_the_stub"):
        asked = ask(world, Case(f"conda_pack:{check}", packaging_cases.built, packaging_cases.removed, ""))
        assert asked.said.passed, asked.said.description
