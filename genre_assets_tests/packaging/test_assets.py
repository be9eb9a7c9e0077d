"""The packaging assets with their real collaborators, and the gate that keeps a wrong model from going live."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import Limits, extract_item
from genre_assets.errors import BadInput
from genre_assets.models.onnx.portable import load_model, read_manifest
from genre_assets.models.selection import fallback
from genre_assets.packaging import assets, candidates, checks, golden, parity, release
from genre_assets.serving import assets as serving_assets
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip, toy_model

pytestmark = pytest.mark.stack


@dataclass
class Version:
    version: int
    family: str
    tags: Mapping[str, str] = field(default_factory=lambda: {fallback.TAG: fallback.Heard(0.5, 0.4, 0.6, 0.1).to_tag()})


class ToyRegistry:
    """The part of the model registry that packaging uses."""

    def __init__(self, models: Mapping[int, Path], roles: Mapping[str, int]) -> None:
        self.models = models
        self.roles = roles

    def version(self, alias: str) -> Version | None:
        return self._described(self.roles[alias]) if alias in self.roles else None

    def versions(self) -> list[Version]:
        return [self._described(version) for version in sorted(self.models, reverse=True)]

    def _described(self, version: int) -> Version:
        return Version(version, read_manifest(self.models[version]).family)

    def download(self, version: int, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for path in self.models[version].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder


@dg.asset
def champion_models() -> None:
    """Stands for the stage before."""


def materialize(stack: LiveStack, registry: ToyRegistry) -> dg.ExecuteInProcessResult:
    resources: dict[str, Any] = {
        "settings": stack.settings, "store": stack.store, "database": stack.database,
        "triton": stack.control, "registry": registry,
    }  # fmt: skip
    return dg.materialize(
        [champion_models, *assets.ASSETS, serving_assets.live_ensemble, *checks.CHECKS],
        resources=resources, raise_on_error=False,
    )  # fmt: skip


def test_a_registry_version_goes_live_through_the_assets(live: LiveStack) -> None:
    registry = ToyRegistry(live.models, {"champion": 3, "fallback": 4})
    first = materialize(live, registry)
    assert first.success
    assert all(e.passed for e in first.get_asset_check_evaluations())
    metadata = first.asset_materializations_for_node("live_ensemble")[0].metadata
    assert metadata["version"].value == 3


def test_a_second_run_changes_nothing_and_asks_no_scratch_server(
    live: LiveStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ToyRegistry(live.models, {"champion": 3, "fallback": 4})
    assert materialize(live, registry).success
    bucket = live.settings.serving_bucket
    before = {o.key: o.last_modified for o in live.store.list(bucket)}
    loads = live.control.statistics(live.model("predictor"))["model_stats"][0]["version"]
    monkeypatch.setattr(parity, "check_parity", lambda *a: pytest.fail("the gate was asked again"))
    monkeypatch.setattr(live.control, "load", lambda model: pytest.fail(f"{model} was loaded again"))
    assert materialize(live, registry).success
    assert {o.key: o.last_modified for o in live.store.list(bucket)} == before
    assert live.control.statistics(live.model("predictor"))["model_stats"][0]["version"] == loads


def test_a_model_that_answers_otherwise_in_triton_never_goes_live(
    live: LiveStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offline answers are falsified by 2e-5: the least that the gate must notice."""
    registry = ToyRegistry(live.models, {"champion": 3, "fallback": 4})
    assert materialize(live, registry).success
    serving = live.control.parameters(live.model("predictor"))
    models = {**live.models, 5: toy_model(tmp_path / "m5", version=5, family="k_neighbors", seed=9)}
    honest: Callable[..., list[dict[str, Any]]] = release.write_golden

    def falsified(*args: Any) -> list[dict[str, Any]]:
        answers = honest(*args)
        for entry in answers:
            if entry["version"] == 5 and entry["probabilities"]:
                entry["probabilities"][0] += 2e-5
        return answers

    monkeypatch.setattr(release, "write_golden", falsified)
    outcome = materialize(live, ToyRegistry(models, {"champion": 5, "fallback": 4}))
    assert not outcome.success
    check = next(e for e in outcome.get_asset_check_evaluations() if e.check_name == "golden_clips_agree")
    assert not check.passed
    assert "by version 5" in (check.description or "")
    assert live.control.parameters(live.model("predictor")) == serving
    assert not outcome.asset_materializations_for_node("live_ensemble")


def test_a_champion_is_served_on_the_cuts_that_it_was_trained_on_whatever_the_settings_say(
    live: LiveStack, tmp_path: Path
) -> None:
    cut = Cut(8.0, 4.0, "start", 2.0)
    assert Cut.from_settings(live.settings) != cut
    model = toy_model(tmp_path / "m7", version=7, family="linear", seed=11, cut=cut)
    outcome = materialize(live, ToyRegistry({**live.models, 7: model}, {"champion": 7, "fallback": 4}))
    assert outcome.success
    metadata = outcome.asset_materializations_for_node("triton_repo")[0].metadata
    assert "the fallback, version 4: it has other cut than the champion" in str(metadata["left out"].value)
    music = golden.clips()["long_mono_22050.wav"]
    rows = extract_item(
        music, limits=Limits(cut.max_seconds, cut.segment_seconds, cut.offset, cut.min_seconds)
    ).features
    expected = load_model(model).probabilities(rows).mean(axis=0)
    short = clip(1, seconds=1.5)  # long enough by the settings, too short for this model
    answer, refused = live.client.predict([music, short], log=False)
    assert answer.version == 7
    assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert "too_short" in refused.error
    assert live.control.parameters(live.model("pre_processor"))["segments"] == "2"


def test_a_candidate_trained_on_other_features_is_left_out(live: LiveStack, tmp_path: Path) -> None:
    other = toy_model(tmp_path / "m6", version=6, family="xgboost", seed=3, feature_set="gtzan37")
    registry = ToyRegistry({**live.models, 6: other}, {"champion": 3, "fallback": 4})
    outcome = materialize(live, registry)
    assert outcome.success
    metadata = outcome.asset_materializations_for_node("triton_repo")[0].metadata
    assert "version 6" in str(metadata["left out"].value)
    versions = metadata["versions"]
    assert isinstance(versions, dg.TableMetadataValue)
    assert {record.data["name"] for record in versions.records} == {"3", "4"}


def test_without_a_champion_the_message_says_what_to_do(live: LiveStack) -> None:
    with pytest.raises(BadInput, match="materialise champion_models"):
        candidates.choose_versions(ToyRegistry({}, {}), live.folder / "none", 0.0)  # type: ignore[arg-type]
