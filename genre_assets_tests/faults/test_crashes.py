"""A process that dies between any two steps: what is there stays readable, and the next try completes the work once.

The steps come from `genre_assets.steps`: one that no action here reaches, or that is new and untested, fails.
"""

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from genre_assets import audit, keys, labels
from genre_assets.audio import groups
from genre_assets.audio.tables import features, inventory
from genre_assets.database import Database
from genre_assets.inference.request_log import insert, read
from genre_assets.inference.spool import PredictionLog
from genre_assets.packaging import publish
from genre_assets.packaging.release import Release
from genre_assets.serving.feedback import training_clips
from genre_assets.serving.promotion import route_state
from genre_assets.serving.rollout.reconciliation import difference, observe
from genre_assets.settings import Settings
from genre_assets.steps import Step
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.faults import crashing
from genre_assets_tests.faults.crashing import run
from genre_assets_tests.inference.test_request_log import row
from genre_assets_tests.models.conftest import empty_mlflow
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.promotion.test_route_state import drifted
from genre_assets_tests.serving.toys import toy_model
from genre_assets_tests.waiting import until

__all__ = ["empty_mlflow"]  # a fixture
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def of(action: str) -> list[Step]:
    return [step for step in Step if step.action == action]


def test_every_action_of_the_steps_has_its_test_here() -> None:
    assert {step.action for step in Step} == {"features", "register", "publish", "promote", "ship", "labels"}


# -- features ----------------------------------------------------------------------------------------------------------

PAIR = ("pop", "reggae")  # neighbours in the list of genres


def small_settings(s3_settings: Settings, folder: Path) -> Settings:
    """Settings with buckets of their own and small budgets."""
    name = uuid.uuid4().hex[:8]
    changes = {
        "home": folder / "home",
        "raw_bucket": f"raw-{name}",
        "features_bucket": f"features-{name}",
        "serving_bucket": f"serving-{name}",
        "workers": 1,
        "feature_set": "gtzan37",
        "releases_kept": 1,
    }
    made = s3_settings.model_copy(update=changes)
    made.home.mkdir()
    ObjectStore(s3_client(made)).ensure_buckets(made.raw_bucket, made.features_bucket, made.serving_bucket)
    return made


@pytest.fixture
def small(s3_settings: Settings, tmp_path: Path) -> Settings:
    return small_settings(s3_settings, tmp_path)


def tables(settings: Settings) -> dict[str, pd.DataFrame]:
    """Inventory, quarantine and features of both genres, as a reader finds them."""
    store = ObjectStore(s3_client(settings))
    found = {}
    for genre in PAIR:
        found[f"inventory of {genre}"] = inventory.read(store, settings, genre).drop(columns=["last_modified"])
        found[f"quarantine of {genre}"] = inventory.read(store, settings, genre, quarantine=True)["key"].to_frame()
        found[f"features of {genre}"] = features.read(store, settings, genre)
    return found


def put_audio(settings: Settings) -> None:
    """A sound file and a broken one for each genre."""
    store = ObjectStore(s3_client(settings))
    for number, genre in enumerate(PAIR):
        store.put_bytes(settings.raw_bucket, f"{genre}/sound.wav", sound_file(music(4, seed=number)))
        store.put_bytes(settings.raw_bucket, f"{genre}/broken.wav", b"no sound")


@pytest.fixture(scope="module")
def uninterrupted(s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """What the tables must be."""
    settings = small_settings(s3_settings, tmp_path_factory.mktemp("uninterrupted"))
    put_audio(settings)
    assert run(crashing.features, settings, PAIR).exitcode == 0
    return tables(settings)


@pytest.mark.parametrize("step", of("features"), ids=str)
def test_features(small: Settings, uninterrupted: dict[str, pd.DataFrame], database: Database, step: Step) -> None:
    put_audio(small)
    assert run(crashing.features, small, PAIR, database.url, crash_after=step).killed
    assert run(crashing.features, small, PAIR, database.url).exitcode == 0
    found = tables(small)
    store = ObjectStore(s3_client(small))
    assert [o.key for o in store.list(small.features_bucket, "checkpoints/")] == []
    for genre in PAIR:
        files = inventory.usable(inventory.read(store, small, genre))
        manifest = features.read_manifest(store, small, genre)
        assert manifest is not None
        assert manifest.content == inventory.usable_digest(files)
        assert found[f"features of {genre}"]["key"].unique().tolist() == [f"{genre}/sound.wav"]
        assert found[f"quarantine of {genre}"]["key"].tolist() == [f"{genre}/broken.wav"]
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, uninterrupted[name])


# -- register ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", of("register"), ids=str)
def test_register(empty_mlflow: Path, tmp_path: Path, database: Database, step: Step) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    given = (tmp_path, database.url)
    assert run(crashing.register, *given, crash_after=step).killed
    assert run(crashing.register, *given).exitcode == 0
    registry = crashing.registry_in(*given)
    assert [v.version for v in registry.versions()] == [1]
    champion = registry.version("champion")
    assert champion is not None
    assert champion.version == 1
    moves = audit.history(database, subject="champion")
    assert [(m.moved_from, m.moved_to, m.actor) for m in moves] == [(None, "1", "election")]


# -- publish -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", of("publish"), ids=str)
def test_publish(small: Settings, live: LiveStack, tmp_path: Path, step: Step) -> None:
    store = ObjectStore(s3_client(small))
    known = live.releases[0]
    folder = live.folder / "first"
    for name in ("a", "b"):
        assert run(crashing.offer, small, replace(known, id=name), folder).exitcode == 0
    newest = replace(known, id="c")
    assert run(crashing.offer, small, newest, folder, crash_after=step).killed
    named = store.read_json(small.serving_bucket, keys.CURRENT_RELEASE)["id"]
    publish.fetch(small, store, replace(known, id=named), tmp_path / "meanwhile")  # whole, whichever it is
    assert run(crashing.offer, small, newest, folder).exitcode == 0
    assert publish.is_accepted(small, store, newest)
    there = {o.key.split("/")[1] for o in store.list(small.serving_bucket, "releases/") if o.key.count("/") > 1}
    assert there == {"b", "c"}
    for name in sorted(there):
        publish.fetch(small, store, replace(known, id=name), tmp_path / name)


# -- promote -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_release(live: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A release that was never on disk, for the steps of fetching it."""
    model = toy_model(tmp_path_factory.mktemp("m21"), version=21, family="k_neighbors", seed=21)
    yield live.build({**live.models, 21: model}, {"champion": 21, "fallback": 4}, "crashes")
    name(live, live.releases[0])
    live.serve("champion")


def name(live: LiveStack, release: Release) -> None:
    """Let the release be the newest."""
    live.store.write_json(live.settings.serving_bucket, keys.CURRENT_RELEASE, {"id": release.id})


@pytest.fixture
def settled(live: LiveStack, database: Database, other_release: Release) -> Settings:
    """The first release on the champion, in the books of an empty database; the other one is the newest."""
    name(live, live.releases[0])
    settings = live.settings.model_copy(update={"database_url": type(live.settings.database_url)(database.url)})
    assert run(crashing.promote, settings, "champion").exitcode == 0
    shutil.rmtree(live.repository.folder(other_release.id), ignore_errors=True)
    name(live, other_release)
    return settings


def moved_once(live: LiveStack, database: Database, by: str) -> None:
    """Books, files and server agree that the fallback serves, by one move."""
    standing = route_state.standing(database)
    assert standing.due is None
    assert standing.serving is not None
    assert standing.serving.route == live.repository.route == live.control.route() == "fallback"
    assert difference(observe("fallback", live.repository, live.control)) is None
    moves = audit.history(database, subject="route")
    assert [(m.moved_from, m.moved_to, m.actor) for m in moves] == [("champion", "fallback", by)]


@pytest.mark.parametrize("step", of("promote"), ids=str)
def test_promote(live: LiveStack, settled: Settings, database: Database, step: Step) -> None:
    assert run(crashing.promote, settled, "fallback", crash_after=step).killed
    found = live.client.predict([b"no sound"], log=False)[0]
    assert found.error.startswith("undecodable")  # whatever serves: it answers
    due = route_state.standing(database).due
    assert due is None or (due.route, due.actor) == ("fallback", "person")  # the daemon asks for it again
    assert run(crashing.promote, settled, "fallback").exitcode == 0
    moved_once(live, database, by="person")


# The drift's move is open already, and the release is the one that serves.
BEFORE_IT = {Step.PROMOTE_REQUEST, Step.PROMOTE_FETCH, Step.PROMOTE_LINK}
IN_A_TICK = [step for step in of("promote") if step not in BEFORE_IT]


@pytest.mark.parametrize("step", IN_A_TICK, ids=str)
def test_promote_in_a_tick(live: LiveStack, settled: Settings, database: Database, step: Step) -> None:
    name(live, live.releases[0])
    database.execute("UPDATE route_state SET decided_at = decided_at - interval '1 minute'")
    drifted(database)
    assert run(crashing.promote_in_a_tick, settled, crash_after=step).killed
    assert live.client.predict([b"no sound"], log=False)[0].error.startswith(
        "undecodable"
    )  # whatever serves: it answers
    assert run(crashing.promote_in_a_tick, settled).exitcode == 0
    moved_once(live, database, by="drift")


# -- ship --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", of("ship"), ids=str)
def test_ship(database: Database, tmp_path: Path, step: Step) -> None:
    now = time.time()
    rows = [row(item=n, ts=now) for n in range(5)] + [row(item=5, ts=now + 10 * 86_400.0)]  # the last: of another week
    assert run(crashing.ship, tmp_path / "spool", database.url, rows, crash_after=step).killed
    log = PredictionLog(tmp_path / "spool", database, max_bytes=2**20, retention_days=30)
    until(lambda: log.backlog() == 0, "an empty spool", 20)
    log.close()
    assert read(database)["item"].tolist() == [0, 1, 2, 3, 4]
    aside = [path.read_text() for path in (tmp_path / "spool_set_aside").iterdir()]
    assert sum(text.count("\n") for text in aside) == 1


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", of("labels"), ids=str)
def test_labels(small: Settings, database: Database, step: Step) -> None:
    """One label is corrected while another one is new."""
    store = ObjectStore(s3_client(small))
    labels.keep(store, small, labels.of_names(PAIR))
    clips = {f"q{n}": hashlib.sha256(b"clip %d" % n).hexdigest() for n in range(2)}
    for n, (request_id, digest) in enumerate(clips.items()):
        store.put_bytes(small.serving_bucket, f"{digest}.wav", b"clip %d" % n)
        insert(database, [replace(row(item=0, ts=time.time() - n), request_id=request_id, fingerprint=digest, tag="kiosk",
                                  error_code=None, address=f"s3://{small.serving_bucket}/{digest}.wav")])  # fmt: skip
    store.put_bytes(small.raw_bucket, "labels/a.csv", b"request_id,item,genre\nq0,0,pop\n")
    assert run(crashing.take_labels, small, database.url).exitcode == 0
    store.put_bytes(small.raw_bucket, "labels/a.csv", b"request_id,item,genre\nq0,0,reggae\nq1,0,pop\n")
    assert run(crashing.take_labels, small, database.url, crash_after=step).killed
    assert run(crashing.take_labels, small, database.url).exitcode == 0
    wanted = {keys.client_clip("reggae", clips["q0"], ".wav"), keys.client_clip("pop", clips["q1"], ".wav")}
    assert {e.key for e in store.list(small.raw_bucket) if e.key.endswith(".wav")} == wanted
    assert groups.read(store, small).keys() >= wanted
    assert not training_clips.interrupted(database)
    kept = database.rows("SELECT key FROM training_clips")
    assert {r["key"] for r in kept} == wanted
