"""A release without a fallback: drift asks for retraining and moves nothing, and the books never name what is not there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets import audit
from genre_assets.cli.stack.status import NO_FALLBACK, print_status
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.models.data import training_store
from genre_assets.models.sensors import retraining_gate
from genre_assets.packaging.config import to_pbtxt
from genre_assets.packaging.ensemble import configurations
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.packaging.release import Release
from genre_assets.serving import sensors
from genre_assets.serving.assets import LiveEnsembleConfig, live_ensemble
from genre_assets.serving.promotion import retraining_requests, route_state
from genre_assets.serving.promotion.moves import Wish
from genre_assets.serving.rollout.live import Live
from genre_assets.settings import Settings
from genre_assets.stack.local import Status
from genre_assets_tests.models.conftest import synthetic_training_set
from genre_assets_tests.packaging.test_config import SPEC
from genre_assets_tests.serving.drift.data import log_rows
from genre_assets_tests.serving.drift_platform import platform, run_drift
from genre_assets_tests.serving.live_stack import LiveStack

__all__ = ["platform"]  # a fixture

ALONE = replace(SPEC, fallback=None)


@pytest.fixture
def settings(s3_settings: Settings, tmp_path: Path) -> Settings:
    """Small windows, and a repository on disk whose release has no fallback."""
    repository = ModelRepository(tmp_path / "triton" / "repository")
    for name, config in configurations(ALONE).items():
        target = repository.folder("alone") / "models" / name
        target.mkdir(parents=True)
        (target / "config.pbtxt").write_text(to_pbtxt(config))
    repository.point("alone")
    return s3_settings.model_copy(
        update={
            "window_size": 32, "window_minimum": 24, "min_dwell_seconds": 0.0, "window_max_seconds": 10**9,
            "triton_repository": repository.path,
        }
    )  # fmt: skip


def test_drift_asks_for_retraining_and_moves_nothing(platform: dict[str, Any]) -> None:
    database: Database = platform["database"]
    run_drift(platform, log_rows(64, shift=0.8))
    request = retraining_requests.open_request(database)
    assert request is not None
    assert "there is no fallback" in request.reason
    assert len(request.evidence["windows"]) == 2
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources=platform)
        tick = sensors.promotion_due(context)  # reconciliation has nothing to say: no server answers
    assert isinstance(tick, dg.SkipReason)
    assert "the champion serves on, and retraining is asked for" in (tick.skip_message or "")
    assert route_state.standing(database).due is None


Run = Callable[..., Any]


@pytest.fixture
def run(platform: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Materialise live_ensemble of a release without a fallback; Triton is left out, the choice is not."""
    release = Release("r", "", "e", ALONE, {str(ALONE.champion): {"family": "linear"}}, {}, {})

    def go_live(_: object, __: object, ___: object, ____: object, choose: Callable[[Release], Any]) -> Live:
        route = choose(release)
        return Live(release, route, release.roles[route], None, published=True)

    monkeypatch.setattr("genre_assets.serving.going_live.go_live", go_live)

    def materialize(**config: Any) -> Any:
        wanted = LiveEnsembleConfig(**config)
        return live_ensemble(wanted, *(platform[n] for n in ("settings", "store", "database", "triton")))

    return materialize


@pytest.mark.parametrize(
    "config",
    [{}, {"route": "fallback", "actor": "reconciliation", "reason": "apart"},
     {"route": "fallback", "actor": "drift", "reason": "2 of 3 windows drifted"}],
    ids=["a build", "reconciliation", "drift"],
)  # fmt: skip
@pytest.mark.parametrize("pinned", [False, True])
def test_a_release_without_a_fallback_goes_live_though_the_fallback_served(
    run: Run, database: Database, config: dict[str, Any], *, pinned: bool
) -> None:
    route_state.confirm(database, "fallback", actor="person", reason="noise", pinned=pinned)
    run(**config)
    serving = route_state.standing(database).serving
    assert serving is not None
    assert (serving.route, serving.pinned) == ("champion", False)
    newest = audit.history(database, subject="route")[0]
    assert (newest.moved_from, newest.moved_to) == ("fallback", "champion")
    assert "release r has no fallback" in newest.reason
    run(**config)
    assert audit.history(database, subject="route")[0] == newest


@pytest.mark.parametrize("config", [{}, {"route": "fallback", "actor": "drift", "reason": "drift"}])
def test_an_open_move_to_a_fallback_that_is_gone_is_dropped(
    run: Run, database: Database, config: dict[str, Any]
) -> None:
    wish = Wish("fallback", "person", "killed before it switched")
    assert route_state.request(database, wish) is not None
    run(**config)
    standing = route_state.standing(database)
    assert standing.due is None
    assert standing.wanted == "champion"
    assert audit.history(database, subject="route") == []


def test_a_person_who_asks_for_a_fallback_that_is_not_there_is_told_why(run: Run, database: Database) -> None:
    for _ in range(2):  # also when the first run was killed with its move open
        with pytest.raises(BadInput, match=r"has no fallback: .*there_is_a_fallback.*the champion serves on"):
            run(route="fallback", actor="person", reason="noise")
        assert route_state.standing(database).due is None
        route_state.request(database, Wish("fallback", "person", "noise"))


@pytest.mark.parametrize(("fallback", "said"), [(False, True), (True, False), (None, False)])
def test_the_status_says_that_there_is_no_fallback(
    capsys: pytest.CaptureFixture[str], *, fallback: bool | None, said: bool
) -> None:
    services = {name: {"healthy": True, "light": "healthy", "restarts": 0} for name in ("triton", "triton-door")}
    print_status(Status(services, "champion", fallback))
    assert (NO_FALLBACK in capsys.readouterr().out) is said


def test_a_sustained_drift_without_a_fallback_is_a_reason_to_train_again(platform: dict[str, Any]) -> None:
    settings = platform["settings"].model_copy(update={"retrain_drift_hours": 1e-6, "feature_tables": "none"})
    resources = {name: platform[name] for name in ("store", "database")} | {
        "settings": settings,
        "drifted_since": retraining_requests.drifted_since,
    }
    training_store.write(platform["store"], settings, synthetic_training_set())

    def tick() -> Any:
        with dg.DagsterInstance.ephemeral() as instance:
            return retraining_gate(dg.build_sensor_context(instance=instance, resources=resources))

    assert tick().run_requests == []
    run_drift(platform, log_rows(64, shift=0.8))
    (request,) = tick().run_requests
    assert "sustained drift" in request.tags["genre/reason"]


@pytest.fixture
def live_again(live: LiveStack) -> Iterator[LiveStack]:
    """Both roles serve again after it."""
    yield live
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


def test_over_a_real_triton_the_champion_alone_serves_and_says_so(live_again: LiveStack) -> None:
    live = live_again
    live.serve("fallback")
    route_state.confirm(live.database, "champion", actor="build", reason="first release")
    route_state.confirm(live.database, "fallback", actor="drift", reason="drift")
    live.build({3: live.models[3]}, {"champion": 3}, "alone")
    resources = live.settings, live.store, live.database, live.control
    live_ensemble(LiveEnsembleConfig(), *resources)
    assert live.control.route() == "champion"
    assert live.control.has_fallback() is False
    assert not live.repository.has_fallback
    assert route_state.current_route(live.database) == "champion"
    with pytest.raises(BadInput, match="has no fallback"):
        live_ensemble(LiveEnsembleConfig(route="fallback", actor="person", reason="r"), *resources)
    assert live.control.route() == "champion"
