"""A release whose models have other labels goes live under load: no request is lost, and every client names them right."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets.triton.client.aio import AsyncGenreClient
from genre_assets.triton.client.sync import GenreClient, Prediction
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_faults import load
from genre_assets_tests.serving.rollout.test_live import first_release
from genre_assets_tests.serving.toys import clip, toy_model

__all__ = ["first_release"]
pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def first_release_again(live: LiveStack, first_release: None) -> Iterator[None]:
    """Other modules go on with the release that they know."""
    yield
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


def other_labels(kind: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    return {"one more": (*labels, "polka"), "renamed": ("wren", *labels[1:]), "fewer": labels[:3]}[kind]


@pytest.mark.parametrize(
    "kind", ["one more", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("renamed", "fewer"))]
)
def test_a_release_of_other_labels_loses_no_request_and_old_clients_see_its_labels(
    live: LiveStack, tmp_path: Path, kind: str
) -> None:
    before = live.releases[0].spec.labels
    wanted = other_labels(kind, before)
    models = {
        version: toy_model(tmp_path / f"m{version}", version=version, family=family, seed=version, labels=wanted)
        for version, family in ((20, "xgboost"), (21, "linear"))
    }
    with GenreClient.from_settings(live.settings) as old:
        assert tuple(old.predict([clip(1)], log=False)[0].probabilities) == before
        live.build(models, {"champion": 20, "fallback": 21}, f"labels-{kind}")
        with load(live, clients=4) as result:
            time.sleep(1.0)
            assert live.serve("champion").published
            time.sleep(2.0)
        assert (result.failures, result.wrong) == ([], [])
        assert {3, 20} <= result.versions
        (answer,) = old.predict([clip(1)], log=False)
    assert (answer.version, tuple(answer.probabilities)) == (20, wanted)
    assert max(answer.probabilities, key=answer.probabilities.__getitem__) == answer.label


def test_an_asyncio_client_sees_them_too(live: LiveStack, tmp_path: Path) -> None:
    wanted = other_labels("fewer", live.releases[0].spec.labels)
    models = {22: toy_model(tmp_path / "m22", version=22, family="xgboost", seed=22, labels=wanted)}
    live.build(models, {"champion": 22}, "labels-aio")

    async def ask() -> Prediction:
        async with AsyncGenreClient.from_settings(live.settings) as old:
            await old.predict([clip(1)], log=False)
            await asyncio.to_thread(live.serve, "champion")
            return (await old.predict([clip(1)], log=False))[0]

    assert tuple(asyncio.run(ask()).probabilities) == wanted
