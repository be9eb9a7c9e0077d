"""A step looks, when Triton loads it, whether it runs what its release names."""

import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.stack.services.triton_watchdog import load_anew
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import first_release
from genre_assets_tests.serving.toys import clip, toy_model
from genre_assets_tests.waiting import until

__all__ = ["first_release"]
pytestmark = pytest.mark.stack


@pytest.fixture
def served(live: LiveStack, first_release: None) -> Iterator[LiveStack]:
    """Other modules go on with the release that they know."""
    yield live
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


def skew_of(live: LiveStack) -> set[str]:
    """The samples of the metric: of the release that serves, and of one that is just on its way out."""
    with urllib.request.urlopen(f"http://{live.settings.triton_metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return set(re.findall(r'(?m)^genre_release_skew\{what="environment"\} (\S+)$', text))


def test_a_release_in_another_environment_than_it_names_is_told_and_serves(served: LiveStack, tmp_path: Path) -> None:
    until(lambda: skew_of(served) == {"0"}, "the first release runs in its own", 20)
    live = replace(served, environment=replace(served.environment, lock=replace(served.environment.lock, recipe=99)))
    folder = live.settings.home / "environments" / live.environment.lock.hash
    folder.symlink_to(live.environment.folder)
    made = live.build(
        {50: toy_model(tmp_path / "m50", version=50, family="linear", seed=50)}, {"champion": 50}, "skewed"
    )
    assert live.serve("champion").published
    assert live.client.predict([clip(1)], log=False)[0].version == 50
    until(lambda: skew_of(live) == {"1"}, "the metric tells", 20)
    (log,) = (live.settings.home / "logs").glob("triton.log")
    said = f"runs in the environment {served.environment.lock.hash}, and its release names {made.environment}"
    assert said in log.read_text(errors="replace")


def test_a_step_of_two_contracts_is_refused_with_what_to_do_and_the_old_one_serves(served: LiveStack) -> None:
    name = served.model("predictor")
    config = served.repository.path / name / "config.pbtxt"
    before = config.read_text()
    config.write_text(before.replace(f'"{name.removeprefix("predictor_")}"', '"0123abcd"'))
    assert config.read_text() != before
    try:
        with pytest.raises(
            PermanentFailure, match=r"of contract 0123abcd: its folder was put together from two releases"
        ):
            load_anew(served.repository.path, served.control, name)
        assert served.client.predict([clip(1)], log=False)[0].version == 3
    finally:
        config.write_text(before)
        load_anew(served.repository.path, served.control, name)
    assert served.client.predict([clip(1)], log=False)[0].version == 3
