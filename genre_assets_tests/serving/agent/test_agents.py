"""Replicas follow one decision: a few promotions under load, a release that one refuses, one that nobody signed."""

import signal
from collections.abc import Iterator

import dagster as dg
import pytest

from genre_assets import keys
from genre_assets.packaging.environment.lock import Environment
from genre_assets.serving.agent import fleet as fleets
from genre_assets.serving.promotion import replica_state, route_state
from genre_assets.serving.promotion.policy import Route
from genre_assets.serving.sensors import promotion_due
from genre_assets.settings import Settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.triton.control import TritonControl
from genre_assets_tests.conftest import _new_database
from genre_assets_tests.serving.agent.clients import load
from genre_assets_tests.serving.agent.replicas import Fleet, fleet_of, wait_until_ready
from genre_assets_tests.serving.drift_platform import instance, tick
from genre_assets_tests.serving.promotion.test_route_state import drifted
from genre_assets_tests.serving.toys import toy_model
from genre_assets_tests.waiting import until

__all__ = ["instance"]  # a fixture
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    execution_environment: Environment,
    s3_settings: Settings,
    postgres: Postgres,
    brought_up: str,
) -> Iterator[Fleet]:
    """Three replicas, on which the first release serves by the champion."""
    folder = tmp_path_factory.mktemp("fleet")
    with (
        _new_database(postgres, brought_up) as database,
        fleet_of(folder, execution_environment, s3_settings, database) as made,
    ):
        assert all(not one.asked()[0] for one in made.replicas), "nothing is released: nobody may answer"
        first = made.promote("champion")
        assert first.success, [one.log() for one in made.replicas]
        wait_until_ready(made)
        yield made


def test_a_few_promotions_under_load_fail_no_request_and_all_serve_the_same(fleet: Fleet) -> None:
    with load(fleet) as seen:
        for number in range(6):
            route: Route = "champion" if number % 2 else "fallback"
            done = fleet.promote(route)
            assert done.success
            assert fleet.routes() == {f"replica-{n}": route for n in range(3)}
            booked = route_state.standing(fleet.database)
            assert booked.serving is not None
            assert (booked.serving.route, booked.due) == (route, None)
            assert fleets.difference(fleet.settings, fleet.database, route) is None
    assert (seen.failures, seen.versions) == ([], {3, 4})
    assert seen.answered > 20
    assert max(seen.apart, default=0.0) <= 2.0
    assert fleets.inspect(fleet.settings, fleet.store, fleet.database).passed


def test_a_release_that_no_replica_can_load_is_taken_back_on_all_and_the_books_stand(fleet: Fleet) -> None:
    model = toy_model(fleet.folder / "m8", version=8, family="k_neighbors", seed=8)
    made = fleet.build({**fleet.models, 8: model}, {"champion": 8, "fallback": 4}, "unsigned")
    before = replica_state.applied(fleet.database)
    assert before is not None
    fleet.store.delete(fleet.settings.serving_bucket, keys.release_signature(made.id))
    with load(fleet) as seen:
        done = fleet.promote(before.route)  # type: ignore[arg-type]
        assert not done.success
        said = str(done.failure_data_for_node("live_ensemble"))
        assert f"release {made.id} has no signature" in said
        assert f"Release {before.release} serves on" in said
        assert "replica-" in said
        until(lambda: fleet.all_serve(before.route), lambda: str(fleet.routes()), 30)
    assert seen.failures == []
    assert replica_state.wanted(fleet.database) == replica_state.applied(fleet.database)
    assert not fleets.inspect(fleet.settings, fleet.store, fleet.database).passed
    fleet.store.write_json(fleet.settings.serving_bucket, keys.CURRENT_RELEASE, {"id": before.release})


def test_what_drift_decides_is_done_by_a_tick_on_all_and_left_to_a_run_while_one_is_behind(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    given = {"settings": fleet.settings, "database": fleet.database, "triton": TritonControl("127.0.0.1:1")}
    fleet.database.execute("TRUNCATE drift_windows CASCADE")
    assert fleet.promote("champion").success
    fleet.database.execute("UPDATE route_state SET decided_at = decided_at - interval '1 minute'")
    drifted(fleet.database)
    one = fleet.replicas[0]
    one.signal(signal.SIGSTOP)
    try:
        until(lambda: bool(fleets.standing(fleet.settings, fleet.database)[1]), "it was not heard for too long", 60)
        assert isinstance(tick(promotion_due, given, instance), dg.RunRequest)
    finally:
        one.signal(signal.SIGCONT)
    until(lambda: fleet.all_serve("champion"), lambda: str(fleet.routes()), 60)
    with load(fleet) as seen:
        said = tick(promotion_due, given, instance)
        assert isinstance(said, dg.SkipReason), said
        assert fleet.all_serve("fallback")
    assert (seen.failures, max(seen.apart, default=0.0) <= 2.0) == ([], True)
    booked = route_state.standing(fleet.database)
    assert booked.serving is not None
    assert (booked.serving.route, booked.due) == ("fallback", None)
    (record,) = instance.fetch_materializations(dg.AssetKey("live_ensemble"), limit=1).records
    assert record.run_id == ""
    assert fleet.promote("champion").success


@pytest.mark.long
def test_a_replica_that_comes_new_serves_what_all_serve_before_it_answers(fleet: Fleet) -> None:
    one = fleet.replicas[0]
    one.stop()
    assert one.name not in {said.replica for said in replica_state.reports(fleet.database)}, "it ended in order"
    assert fleet.promote("fallback").success
    assert _route_of(fleet, 0) == "champion"
    one.start()
    until(lambda: one.asked()[0], lambda: one.asked()[1], 60)
    assert _route_of(fleet, 0) == "fallback"


def _route_of(fleet: Fleet, number: int) -> str | None:
    return fleet.routes(ready=False)[f"replica-{number}"]
