"""The processes of the world: each runs the platform's own functions, and may die at any step.

Sensors and the asset `live_ensemble` are the real ones; so are the books, the windows, the alerts and the spool. What
is made up: Dagster's launching of runs, the judging of a window (whether it drifted is known), and Triton.
"""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg
import psycopg2

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.inference import request_log, spool
from genre_assets.inference.request_log import Row
from genre_assets.serving import assets, drift_assets, going_live, sensors
from genre_assets.serving.alerts import manager, sources
from genre_assets.serving.alerts.manager import Alerts, Delivered, _Sending
from genre_assets.serving.drift import window_reports, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.feedback import labels
from genre_assets.serving.promotion import replica_state, route_state
from genre_assets.serving.promotion.moves import Standing
from genre_assets.serving.promotion.policy import Decision
from genre_assets.serving.promotion.policy import Rules as PromotionRules
from genre_assets.serving.rollout import live
from genre_assets.settings import Settings
from genre_assets_tests.simulator.parts import Clock, Run
from genre_assets_tests.simulator.world import World

INSERT = "INSERT INTO served_requests ({}) VALUES ({})".format(
    ", ".join(request_log.COLUMNS), ", ".join(["%s"] * len(request_log.COLUMNS))
)
POISON = "poison"  # the label of a row that the database refuses


def client(world: World) -> None:
    """Asks, again and again; sometimes twice under one id, sometimes for an item that cannot be logged."""
    while True:
        world.pause()
        loaded = world.server.loaded.get("predictor")
        if not world.server.up or not loaded or "genre_ensemble" not in world.server.loaded:
            continue
        rows = []
        for _ in range(world.rng.randint(1, 3)):
            item = str(uuid.UUID(int=world.rng.getrandbits(128)))
            if world.drifting:
                world.drifted_items.add(item)
            at = Clock.moment.timestamp() - world.rng.choice([0.0, 0.0, 0.0, 3.0])  # late: answered a while ago
            label = POISON if world.chance(0.02) else "rock"
            rows.append(answered(item, at, label, loaded["route"], int(loaded["version"])))
        world.asked |= {row.id for row in rows}
        world.by_version |= {(row.route, row.version) for row in rows}
        world.log.append(rows)
        if world.chance(0.1):
            world.log.append(rows)  # asked again under the same id
        world.answered |= {row.id for row in rows}


def answered(item: str, at: float, label: str, route: str, version: int) -> Row:
    """The row of an item."""
    return Row(
        id=item, ts=at, request_id=item, item=0, fingerprint=item, model="toy", version=version, route=route,
        label=label, confidence=0.9, probabilities=[0.9], features=[1.0], feature_set="default", feature_set_version="1",
        error_code=None, error=None, decode_ms=1.0, extract_ms=1.0, predict_ms=1.0,
    )  # fmt: skip


def shipper(world: World) -> None:
    """The log's rounds. Its process dies with a segment open, and the next one takes it over."""
    while True:
        world.pause()
        world.log.round()


def insert(database: Database, rows: list[Row]) -> int:
    """`request_log.insert` without PostgreSQL's own bulk form: each item once, all or none."""
    added = 0
    with database.transaction() as cursor:
        for row in rows:
            if row.label == POISON:
                raise psycopg2.DataError("poison")
            cursor.execute("SELECT id FROM served_requests WHERE id = %s", (row.id,))
            if cursor.fetchone() is None:
                values = [getattr(row, name) for name in request_log.COLUMNS]
                values[1] = datetime.fromtimestamp(row.ts, UTC)
                cursor.execute(INSERT, tuple(values))
                added += 1
    return added


class Context:
    """What a sensor gets of Dagster. Its cursor is in Dagster's database, kept when a tick ends well."""

    def __init__(self, world: World, sensor: str) -> None:
        self.world, self.sensor, self.instance, self.log = world, sensor, world.instance, logging.getLogger(__name__)
        self.cursor = world.cursors.get(sensor, "")

    def update_cursor(self, cursor: str) -> None:
        """For the next tick."""
        self.cursor = cursor

    def end(self) -> None:
        """The tick has ended well."""
        self.world.cursors[self.sensor] = self.cursor


def daemon(world: World) -> None:
    """Ticks of the sensors, in any order."""
    given: dict[str, dict[str, Any]] = {
        "new_drift_window": {"settings": world.settings, "database": world.database, "triton": world.server},
        "promotion_due": {"settings": world.settings, "database": world.database, "triton": world.server},
    }
    names = {"new_drift_window": "drift", "promotion_due": "promote"}
    while True:
        world.pause()
        with suppress(GenreError):
            choice = world.rng.randrange(4)
            if choice == 2:
                tell(world)
                continue
            if choice == 3:
                end_lost_runs(world)
                continue
            name = list(names)[choice]
            context = Context(world, name)
            asked = getattr(sensors, name)._raw_fn(context, **given[name])
            context.end()
            if isinstance(asked, dg.RunRequest):
                world.ask_for(names[name], asked.tags[sensors.PURPOSE], dict(asked.run_config), str(asked.run_key))


def tell(world: World) -> None:
    """What `alert_on_platform` does about moves of the route, and the delivery of what is due."""
    context = Context(world, "alert_on_platform")
    last = int(context.cursor or 0)
    moves = [m for m in reversed(audit.history(world.database, subject="route")) if m.id > last]
    sources.tell_moves(moves, world.alerts, "http://dagster")
    context.update_cursor(str(max([last, *(m.id for m in moves)])))
    context.end()
    world.alerts.deliver()


class InlineAlerts(Alerts):
    """Sends in the caller's own thread."""

    def deliver(self, now: Any = None) -> Delivered:
        """As the real one, a channel after the other."""
        for channel in self.channels:
            sending = _Sending(self.database, channel, now or Clock.moment, float("inf"))
            _Sending._under_way.clear()  # of this process, and each daemon is a process of its own
            sending.run()
            if sending.problem is not None:
                raise sending.problem
        return Delivered(0, ())


def end_lost_runs(world: World) -> None:
    """What `runs_without_process` does."""
    for run in world.runs:
        if run.status in {"starting", "started"} and (run.worker is None or run.worker.dead):
            run.end("failed")
            world.note("lost run ended:", run.purpose)


def judge(world: World) -> tuple[Standing, Decision | None]:
    """What the sensor does in its tick, by `drift_assets.decide`; or it cannot, and a run is asked for."""
    if world.rng.randrange(2):
        raise GenreError("left to a run")
    drift_run(world)
    fallback = replica_state.has_fallback(world.settings, world.database)
    return route_state.advance(world.database, PromotionRules.from_settings(world.settings), fallback=fallback)


def drift_run(world: World, _: Run | None = None) -> None:
    """The job drift, and the sensor: cut, evaluate, save the result. Whether the items drifted is known here."""
    database, rules = world.database, Rules.from_settings(world.settings)
    window_store.cut(database, rules)
    for waiting in window_store.unevaluated(database):
        window = waiting.window
        items = database.rows(
            "SELECT id FROM served_requests WHERE ts BETWEEN %s AND %s", (window.opened_at, window.closed_at)
        )
        drifted = [row["id"] in world.drifted_items for row in items]
        level = Level.DETECTED if sum(drifted) * 2 > len(drifted) else Level.OK
        if window_store.save_result(database, window.id, level=level, reason="known", reference_version=1, findings={}):
            world.note("judged", window.id, level, window.epoch.route)
        world.pause()
    for judged in window_reports.unreported(database):
        window_reports.keep_reported(database, judged.window.id)


def promote_run(world: World, run: Run) -> None:
    """The job promote: the asset's own body."""
    wish = run.config["ops"]["live_ensemble"]["config"]
    body = assets.live_ensemble.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    body(
        assets.LiveEnsembleConfig(**wish),
        settings=world.settings,
        store=None,
        database=world.database,
        triton=world.server,
    )


def work(world: World, run: Run) -> None:
    """The process of a run."""
    run.status = "started"
    try:
        bodies: dict[str, Callable[[World, Run], None]] = {"drift": drift_run, "promote": promote_run}
        bodies[run.job](world, run)
    except GenreError as error:
        world.note("run failed:", run.purpose, error)
        run.end("failed")
    else:
        world.note("run succeeded:", run.purpose)
        run.end("succeeded")


def person(world: World) -> None:
    """Promotes by hand, pins and lets go, publishes releases."""
    while True:
        world.pause()
        choice = world.rng.randrange(6)
        with suppress(GenreError):
            if choice == 0:
                wish = {
                    "route": world.rng.choice(["champion", "fallback"]),
                    "actor": "person",
                    "reason": "by hand",
                    "pinned": world.chance(0.3),
                }
                world.ask_for("promote", f"person-{len(world.runs)}", {"ops": {"live_ensemble": {"config": wish}}})
            elif choice == 1:
                route_state.pin(world.database, world.chance(0.3))
            elif choice == 2:
                world.publish()
                config: dict[str, Any] = {"ops": {"live_ensemble": {"config": {}}}}
                world.ask_for("promote", f"build-{world.newest}", config)
            elif choice == 3:
                world.drifting = not world.drifting
        for _ in range(world.rng.randint(2, 12)):
            world.pause()


def stage(settings: Settings, store: Any, repository: Any, release: Any) -> str:
    """Fetch a release: it is on disk whole, or not at all."""
    repository.world.pause()
    repository.routes.setdefault(release.id, "champion")
    return str(release.id)


def ask_golden(client: World, release: Any, folder: str, version: int) -> list[Any]:
    """The server must answer with this version."""
    found = client.server.parameters("predictor").get("version")
    if found != str(version):
        raise BadInput(f"version {found} answers instead of {version}")
    return []


@contextmanager
def patched(world_of: Callable[[], World]) -> Iterator[None]:
    """The made-up parts in the places of the real ones, for every world that `world_of()` names."""
    newest = lambda *_: world_of().releases[world_of().newest]  # noqa: E731
    client_of = SimpleNamespace(from_settings=lambda *_: nullcontext(world_of()))
    with (
        mock.patch.multiple(
            sensors,
            datetime=Clock,
            ModelRepository=lambda _: world_of().files,
            store_for_a_tick=lambda _: None,
            live_events=lambda *_: (),
        ),
        mock.patch.multiple(drift_assets, decide=lambda *_: judge(world_of()), report=lambda *_: []),
        mock.patch.multiple(labels, update_windows=lambda _: None),
        mock.patch.multiple(route_state, datetime=Clock),
        mock.patch.multiple(window_store, datetime=Clock),
        mock.patch.multiple(manager, datetime=Clock),
        mock.patch.multiple(
            live, ModelRepository=lambda _: world_of().files, stage=stage, ask_golden=ask_golden, newest=newest
        ),
        mock.patch.multiple(
            going_live, GenreClient=client_of, ModelRepository=lambda _: world_of().files, newest=newest
        ),
        mock.patch.multiple(spool, insert=insert, ROTATE_SECONDS=0.0),
    ):
        yield
