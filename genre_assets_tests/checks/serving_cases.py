"""Releases, servers and answered requests on which the checks of the serving stage must fail."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from genre_assets import keys
from genre_assets.genres import GENRES
from genre_assets.inference import request_log
from genre_assets.inference.request_log import Row
from genre_assets.packaging import golden
from genre_assets.packaging.ensemble import EnsembleSpec
from genre_assets.packaging.release import CONTENT, Release
from genre_assets.serving.promotion import route_state
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, PYTHON_MODELS
from genre_assets_tests.checks.world import WARN, Case, World
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame

SPEC = EnsembleSpec(
    labels=("blues", "rock"), feature_set="default", feature_set_version="1", columns=5, segments=3, max_seconds=30.0,
    segment_seconds=10.0, offset="start", min_seconds=1.0, champion=3, fallback=4, environment="abc", max_batch=16,
    extractors=2,
)  # fmt: skip
OFFLINE = {"clip": "a.wav", "version": 3, "label": "rock", "probabilities": [0.2, 0.8], "code": ""}


class Answering:
    """A client of a server that answers every item so."""

    def __init__(self, answer: Prediction) -> None:
        self.answer = answer

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def predict(self, items: Sequence[bytes], **_: Any) -> list[Prediction]:
        return [self.answer] * len(items)


def answers(label: str = "rock", probability: float = 0.8, version: int = 3) -> Callable[[World], None]:
    """The server answers every golden clip so."""
    answer = Prediction(label, {"blues": 1 - probability, "rock": probability}, "linear", version)
    return lambda world: world.patch.setattr(GenreClient, "from_settings", lambda *_, **__: Answering(answer))


def released(world: World) -> None:
    """A release in the bucket and on disk, and a server that has loaded it and answers as offline."""
    contents = {name: f"of {name}" for name in (*PYTHON_MODELS, ENSEMBLE)}
    release = Release("r1", "today", "abc", SPEC, {}, contents, {}, [OFFLINE])
    publish_as_newest(world, release)
    world.triton.loaded = {name: {CONTENT: content} for name, content in contents.items()}
    world.triton.loaded[PREDICTOR]["route"] = "champion"
    folder = world.settings.repository.parent / "releases" / "r1" / "golden"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(golden.clips()["broken.wav"])
    answers()(world)


def publish_as_newest(world: World, release: Release) -> None:
    bucket = world.settings.serving_bucket
    world.store.write_json(bucket, f"releases/{release.id}/release.json", release.to_json())
    world.store.write_json(bucket, keys.CURRENT_RELEASE, {"id": release.id})


def newer_release(world: World) -> None:
    publish_as_newest(world, Release("r2", "later", "abc", SPEC, {}, {PREDICTOR: "another"}, {}, [OFFLINE]))


def empty_server(world: World) -> None:
    world.triton.loaded = {}


def clean_window(world: World) -> None:
    """A champion that serves, what it was trained on, and a window of answers as they should be."""
    world.store.write_parquet(world.settings.serving_bucket, keys.reference(1), reference_frame())
    route_state.confirm(world.database, "champion", actor="build", reason="first release")
    world.database.execute("UPDATE route_state SET decided_at = %s", (START,))
    request_log.insert(world.database, log_rows(32, seed=5))


def window(change: Callable[[Row], Row] = lambda row: row, *, shift: float = 0.0) -> Callable[[World], list[Row]]:
    """Another window, a minute later, with every row changed so."""

    def log(world: World) -> list[Row]:
        rows = [change(row) for row in log_rows(32, seed=6, shift=shift, start=START + timedelta(minutes=1))]
        request_log.insert(world.database, rows)
        return rows

    return log


def always_blues(row: Row) -> Row:
    return replace(row, label="blues", probabilities=[0.7, *[0.3 / 9] * 9])


def less_sure(row: Row) -> Row:
    known = row.probabilities or []
    return replace(row, confidence=0.37, probabilities=[0.37 if p > 0.5 else 0.07 for p in known])


def surer(row: Row) -> Row:
    known = row.probabilities or []
    return replace(row, confidence=0.91, probabilities=[0.91 if p > 0.5 else 0.01 for p in known])


def failures(world: World) -> None:
    failed = log_rows(12, seed=7, start=START + timedelta(minutes=1), error_code="undecodable")
    request_log.insert(world.database, failed)
    window()(world)


def no_number(world: World) -> None:
    numbers = itertools.count()
    spoiled = [replace(row, features=[float("nan")] * 12, fingerprint=f"nan-{next(numbers)}") for row in log_rows(12, seed=8, start=START + timedelta(minutes=1))]  # fmt: skip
    request_log.insert(world.database, spoiled)
    window()(world)


def labels_that_disagree(world: World) -> None:
    rows = window()(world)
    lines = [f"{row.request_id},0,{GENRES[(GENRES.index(str(row.label)) + 1) % 10]}" for row in rows]
    text = "\n".join(["request_id,item,genre", *lines])
    world.store.put_bytes(world.settings.raw_bucket, "labels/told.csv", text.encode())


SERVES = "live_ensemble:server_serves_the_newest_release"
CASES: Sequence[Case] = [
    Case(SERVES, released, empty_server, "the server does not serve release r1: materialise live_ensemble"),
    Case(SERVES, released, newer_release, "the server does not serve release r2"),
    Case(SERVES, released, answers(label="blues"), r"a\.wav \(rock offline, blues served"),
    Case(SERVES, released, answers(probability=0.8001), r"a\.wav \(rock offline, rock served, difference 1\.0e-04"),
    Case(SERVES, released, answers(version=4), "version 4 answers instead of version 3"),
    Case("drift_reports:feature_drift", clean_window, window(shift=0.8), "^drift in 32 items"),
    Case("drift_reports:prediction_mix", clean_window, window(always_blues), r"most often blues \(100%\)"),
    Case("drift_reports:confidence", clean_window, window(less_sure), "mean confidence 0.37, usually 0.70"),
    Case("drift_reports:confidence", clean_window, window(surer), "mean confidence 0.91, usually 0.70", WARN),
    Case("drift_reports:estimated_accuracy", clean_window, window(less_sure), "estimated accuracy"),
    Case("drift_reports:labelled_accuracy", clean_window, labels_that_disagree, "accuracy 0.00, G-mean 0.00 on 32 of 32"),
    Case("drift_reports:data_quality", clean_window, failures, "12 of 44 rows failed"),
    Case("drift_reports:data_quality", clean_window, no_number, "12 had bad features"),
    Case("drift_reports:latency", clean_window, window(lambda r: replace(r, extract_ms=500.0)), "within 504 ms, usually 24"),
]  # fmt: skip
