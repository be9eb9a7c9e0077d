"""Releases whose steps cannot talk to each other replace one another under load: no request meets steps of both.

The older release is made by a copy of the sources in which one thing is as some earlier (or later) code may have it.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from genre_assets.errors import PermanentFailure
from genre_assets.packaging import code, release
from genre_assets.packaging.config import ModelConfig
from genre_assets.packaging.ensemble import configurations
from genre_assets.triton.protocol import AUDIO, ENSEMBLE, ERROR, PARTS, TIMELINE, VERSION
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import first_release
from genre_assets_tests.serving.toys import clip, toy_model
from genre_assets_tests.waiting import until

__all__ = ["first_release"]
pytestmark = pytest.mark.stack
OWN_TENSORS = {PARTS, TIMELINE}  # which the older steps and ensemble do not have


@pytest.fixture(autouse=True)
def first_release_again(live: LiveStack, first_release: None) -> Iterator[None]:
    """Other modules go on with the release that they know."""
    yield
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")


@dataclass
class Asked:
    """What clients got that never ask a second time: items by version, and every failure in its words."""

    versions: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@contextmanager
def asking(live: LiveStack, clients: int = 4) -> Iterator[Asked]:
    """Clients that ask without pause, by Triton's own library, until the end of the block."""
    asked, ending, lock = Asked(), threading.Event(), threading.Lock()
    sounds = np.array([clip(i, seconds=1.0, rate=4_000) for i in range(2)], dtype=object).reshape(-1, 1)
    tensor = grpc.InferInput(AUDIO, list(sounds.shape), "BYTES").set_data_from_numpy(sounds)

    def one() -> None:
        with grpc.InferenceServerClient(live.settings.triton_grpc) as client:
            while not ending.is_set():
                try:
                    answer = client.infer(ENSEMBLE, [tensor], client_timeout=60)
                except InferenceServerException as error:
                    with lock:
                        asked.failures.append(str(error))
                    continue
                with lock:
                    asked.failures += [text.decode() for text in answer.as_numpy(ERROR).reshape(-1) if text]
                    for version in map(int, answer.as_numpy(VERSION).reshape(-1)):
                        asked.versions[version] = asked.versions.get(version, 0) + 1

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def other_fields(tree: Path) -> None:
    """A message has a field of another name: each side misses one that it needs."""
    change(
        tree / "genre_assets/inference/answers.py",
        "    predict_ms: float\n    labels",
        "    took_ms: float\n    labels",
    )
    change(tree / "genre_assets/inference/answers.py", "served.predict_ms", "served.took_ms")


def other_seal(tree: Path) -> None:
    """The steps sign otherwise what they tell each other."""
    change(tree / "genre_assets/inference/seal.py", "digest_size=32", "digest_size=16")


def fewer_tensors(tree: Path) -> None:
    """The steps have no tensor for timelines, as before there were any."""
    for model, tensor in (("pre_processor", "PARTS"), ("predictor", "TIMELINE")):
        source = tree / "triton_models" / model / "model.py"
        (line,) = (one for one in source.read_text().splitlines(keepends=True) if f"pb_utils.Tensor({tensor}," in one)
        change(source, line, "")


def broken(tree: Path) -> None:
    """The last step to be loaded does not come up."""
    change(
        tree / "triton_models/post_processor/model.py",
        "        check_numpy()\n",
        "        raise RuntimeError('broken')\n",
    )


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


def without_own_tensors(configs: Mapping[str, ModelConfig]) -> dict[str, ModelConfig]:
    """The configurations as they were before there were timelines."""
    return {
        name: replace(
            config,
            inputs=tuple(t for t in config.inputs if t.name not in OWN_TENSORS),
            outputs=tuple(t for t in config.outputs if t.name not in OWN_TENSORS),
            steps=tuple(
                replace(
                    step,
                    inputs={k: v for k, v in step.inputs.items() if k not in OWN_TENSORS},
                    outputs={k: v for k, v in step.outputs.items() if k not in OWN_TENSORS},
                )
                for step in config.steps
            ),
        )
        for name, config in configs.items()
    }


def build_by_other_code(
    live: LiveStack, folder: Path, edits: list[Callable[[Path], None]], models: Mapping[int, Path]
) -> release.Release:
    """A release that another version of the platform built."""
    tree = folder / "code"
    skipped = shutil.ignore_patterns("__pycache__", "*.so")
    for part in ("genre_assets", "triton_models"):
        shutil.copytree(code.ROOT / part, tree / part, ignore=skipped)
    for edit in edits:
        edit(tree)
    honest = configurations
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "ROOT", tree)
        patch.setattr(code, "SOURCES", tree / "triton_models")
        if fewer_tensors in edits:
            patch.setattr(release, "configurations", lambda *given: without_own_tensors(honest(*given)))
        return live.build(models, {"champion": min(models)}, folder.name)


def switch(live: LiveStack, target: release.Release) -> None:
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": target.id})
    assert live.serve("champion").published


ALL = [other_fields, other_seal, fewer_tensors]


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param(ALL, id="all"),
        *(pytest.param([edit], id=edit.__name__, marks=pytest.mark.long) for edit in ALL),
    ],
)
def test_a_release_of_other_code_comes_and_goes_without_a_failed_request(
    live: LiveStack, tmp_path: Path, edits: list[Callable[[Path], None]]
) -> None:
    older = build_by_other_code(
        live, tmp_path, edits, {40: toy_model(tmp_path / "m40", version=40, family="linear", seed=40)}
    )
    there_and_back(live, older, 40)


@pytest.mark.long
def test_a_release_of_other_features_comes_and_goes_without_a_failed_request(live: LiveStack, tmp_path: Path) -> None:
    model = toy_model(tmp_path / "m41", version=41, family="linear", seed=41, feature_set="gtzan37")
    there_and_back(live, live.build({41: model}, {"champion": 41}, "features"), 41)


@pytest.mark.long
def test_a_release_of_other_code_that_does_not_load_costs_no_request(live: LiveStack, tmp_path: Path) -> None:
    model = toy_model(tmp_path / "m42", version=42, family="linear", seed=42)
    with asking(live) as asked:
        build_by_other_code(live, tmp_path, [broken], {42: model})
        with pytest.raises(PermanentFailure, match=f"{live.releases[0].id} serves on"):
            live.serve("champion")
        time.sleep(0.5)
    assert (asked.failures, set(asked.versions)) == ([], {3})
    until(
        lambda: live.control.loaded_models() == set(live.releases[0].contents),
        "nothing of the other release stays loaded",
        30,
    )


def there_and_back(live: LiveStack, other: release.Release, version: int) -> None:
    """To the other release and back, while clients ask."""
    with asking(live) as asked:
        time.sleep(0.5)
        switch(live, other)
        time.sleep(0.5)
        switch(live, live.releases[0])
        time.sleep(0.5)
    assert asked.failures == []
    assert set(asked.versions) == {3, version}
    until(
        lambda: live.control.loaded_models() == set(live.releases[0].contents),
        "nothing of the other release stays loaded",
        30,
    )
