"""The way back: drifted clips, sent by their address, are listed, labelled, trained on, and are normal from then on.

Nobody starts anything after the labels were handed in: sensors take them, copy the clips, extract features, train again,
and release what passed the gate.
"""

import csv
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.dsp.filters import Floats
from genre_assets.database import Database
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.serving.drift import window_store
from genre_assets.serving.promotion import retraining_requests, route_state
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.audio.sounds import sound_file
from genre_assets_tests.integration.test_any_labels import CLIPS, SOUNDS, write
from genre_assets_tests.live import COMMAND, PORT_OFFSET, environment, logs
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(2700)]
VISITORS = "visitors"
EACH, WINDOW = 11, 32  # clips of each label, and how many of those make a window of the demo's settings


def command(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    outside = {
        **environment(home),
        "GENRE_PORT_OFFSET": str(PORT_OFFSET + 500),
        "GENRE_SERVING_ALLOWED_BUCKETS": f"genre-raw,{VISITORS}",
        "GENRE_RETRAIN_MIN_NEW_CLIPS": "12",
    }
    return subprocess.run([COMMAND, *words], env=outside, capture_output=True, text=True, timeout=1800)


def in_a_crowd(label: str, samples: Floats, random: np.random.Generator) -> Floats:
    """The same sound, faint, behind a loud one of another label: models that know the clean sounds name the loud one."""
    names = list(SOUNDS)
    other = SOUNDS[names[(names.index(label) + 1) % len(names)]](random)
    mixed: Floats = 0.2 * samples / np.abs(samples).max() + 0.7 * other / np.abs(other).max()
    return np.clip(mixed, -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack that serves three labels, trained on clean sounds."""
    folder = tmp_path_factory.mktemp("way_back")
    for seed, (label, sound) in enumerate(SOUNDS.items()):
        write(folder / "audio", label, sound, seed)
    home = folder / "home"
    try:
        for words in (["up"], ["ingest", str(folder / "audio")], ["run"]):
            done = command(home, *words)
            assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}\n{logs(home)}"
        yield load_settings(home)
    finally:
        command(home, "down")


@pytest.fixture(scope="module")
def database(three: Settings) -> Database:
    return Database(three.database_url.get_secret_value())


@pytest.fixture(scope="module")
def store(three: Settings) -> ObjectStore:
    made = ObjectStore(s3_client(three))
    made.ensure_buckets(VISITORS)
    return made


def send(
    settings: Settings, store: ObjectStore, database: Database, day: int, crowded: Mapping[str, float] | None = None
) -> None:
    """A window of clips by their addresses, to its verdict; `crowded`: which share of each label's are (default: all)."""
    before = len(window_store.newest(database, 100))
    addresses = []
    for seed, (label, sound) in enumerate(SOUNDS.items()):
        for number in range(EACH):
            random = np.random.default_rng((day, seed, number))
            samples = sound(random)
            if number < round(EACH * (crowded or {}).get(label, 1.0)):
                samples = in_a_crowd(label, samples, random)
            key = f"{day}/{label}/{number:02d}.wav"
            store.put_bytes(VISITORS, key, sound_file(samples))
            addresses.append(f"s3://{VISITORS}/{key}")
    with GenreClient(settings.triton_grpc) as client:
        answers = client.predict(addresses[:WINDOW])
    assert [answer.error for answer in answers] == [""] * WINDOW
    until(lambda: len(window_store.newest(database, 100)) > before, "its verdict", 300)


def label_what_is_listed(home: Path, table: Path) -> Sequence[dict[str, str]]:
    """List, fill in what each clip really is, hand in."""
    done = command(home, "review", str(table), "--limit", "96")
    assert done.returncode == 0, done.stdout + done.stderr
    with table.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["listen"].startswith("http")
        row["genre"] = row["address"].split("/")[-2]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    taken = command(home, "review", str(table), "--take")
    assert f"{len(rows)} labels sent" in taken.stdout, taken.stdout + taken.stderr
    return rows


def test_drifted_clips_that_are_labelled_become_a_champion_for_which_they_are_no_drift(
    three: Settings, store: ObjectStore, database: Database, tmp_path: Path
) -> None:
    registry = ModelRegistry.from_settings(three)
    old = registry.version("champion")
    fallback = registry.version("fallback")
    assert old is not None
    before = {old.version, fallback.version if fallback else old.version}
    for day in (1, 2, 3):
        send(three, store, database, day)
    assert [str(w.level) for w in window_store.newest(database, 2)] == ["detected"] * 2
    rows = label_what_is_listed(three.home, tmp_path / "list.csv")
    assert len(rows) >= 16, "enough for a retraining, and of those that sound alike one"
    assert len({row["reason"] for row in rows}) >= 2

    def copies() -> list[str]:
        return [entry.key for entry in store.list(three.raw_bucket) if "/clients/" in entry.key]

    until(lambda: len(copies()) == len(rows), lambda: f"{len(copies())} of {len(rows)} copied", 300, 1)
    request = retraining_requests.open_request(database)
    assert request is None or request.clips == len(rows)

    def champion() -> int:
        now = registry.version("champion")
        return now.version if now else 0

    def serving() -> str:
        found = route_state.standing(database).serving
        return found.route if found else ""

    until(lambda: champion() != old.version, lambda: f"still version {old.version}\n{logs(three.home)}", 1200, 2)

    def answering() -> int:
        with GenreClient(three.triton_grpc) as client:
            (answer,) = client.predict([f"s3://{VISITORS}/1/tones/00.wav"], log=False)
        return answer.version

    until(lambda: answering() not in before, "the new release answers", 900, 2)
    # What comes from now on is as the training set is: of each label, clean clips and crowded ones.
    shares = {label: n / (n + CLIPS) for label, n in Counter(row["genre"] for row in rows).items()}
    day = 3
    while serving() != "champion" and day < 12:  # it comes back after three clean windows
        day += 1
        send(three, store, database, day, shares)
    until(lambda: serving() == "champion" and answering() == champion(), "the new champion serves", 300, 2)
    send(three, store, database, day + 1, shares)
    newest = window_store.newest(database, 1)[0]
    assert newest.window.epoch.version == champion()
    assert str(newest.level) in {"ok", "suspected"}, newest.reason
    send(three, store, database, 2)  # what was listed and trained on
    trained = window_store.newest(database, 1)[0].findings["data_quality"].values["trained"]
    assert trained >= 3, "clips that were labelled are no evidence of drift"
