"""Typed model configuration: what is written is what Triton reads, and what Triton could not serve is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.errors import BadInput
from genre_assets.packaging.config import ModelConfig, Step, Tensor, from_pbtxt, to_pbtxt
from genre_assets.packaging.ensemble import EnsembleSpec, configurations, with_route

FIXTURES = Path(__file__).parent / "fixtures"
SPEC = EnsembleSpec(
    labels=("blues", "rock"), feature_set="default", feature_set_version="1", columns=5, segments=3, max_seconds=30.0,
    segment_seconds=10.0, offset="start", min_seconds=1.0, champion=3, fallback=4, environment="abc", max_batch=16,
    extractors=2,
)  # fmt: skip
names = st.from_regex(r"[A-Z][A-Z_]{0,10}", fullmatch=True)
tensors = st.builds(
    Tensor,
    name=names,
    type=st.sampled_from(["BYTES", "FP32", "INT64"]),
    dims=st.lists(st.integers(1, 512) | st.just(-1), min_size=1, max_size=3).map(tuple),
    labels=st.sampled_from(["", "labels.txt"]),
)
python_models = st.builds(
    ModelConfig,
    name=st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True).filter(str.isidentifier),
    max_batch_size=st.integers(1, 128),
    inputs=st.lists(
        tensors.map(lambda t: replace(t, labels="")), min_size=1, max_size=3, unique_by=lambda t: t.name
    ).map(tuple),
    outputs=st.lists(tensors, min_size=1, max_size=3, unique_by=lambda t: t.name).map(tuple),
    instances=st.integers(1, 8),
    dynamic_batching=st.booleans(),
    versions=st.lists(st.integers(1, 999), max_size=3, unique=True).map(tuple),
    parameters=st.dictionaries(st.text("abcdef", min_size=1), st.text(), max_size=4),
)


@given(python_models)
def test_any_configuration_comes_back_as_it_was_written(config: ModelConfig) -> None:
    assert from_pbtxt(to_pbtxt(config)) == config


@pytest.mark.parametrize("name", ["pre_processor", "predictor", "post_processor", "genre_ensemble"])
def test_the_ensembles_configurations_come_back_as_written(name: str) -> None:
    config = configurations(SPEC)[name]
    assert from_pbtxt(to_pbtxt(config)) == config


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("valid_*.pbtxt")), ids=lambda p: p.stem)
def test_a_valid_file_is_read_and_written_to_the_same_meaning(path: Path) -> None:
    config = from_pbtxt(path.read_text())
    assert from_pbtxt(to_pbtxt(config)) == config


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("invalid_*.pbtxt")), ids=lambda p: p.stem)
def test_an_invalid_file_is_refused_with_a_reason(path: Path) -> None:
    reason = path.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(BadInput, match=reason):
        from_pbtxt(path.read_text())


BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "a dimension of zero": (lambda: Tensor("A", "FP32", (0,)), "must be positive"),
    "no input": (lambda: ModelConfig("m", 1, (), (Tensor("B", "FP32"),)), "at least one input"),
    "two outputs of one name": (lambda: ModelConfig("m", 1, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),) * 2), "same name"),
    "a batch size of zero": (lambda: ModelConfig("m", 0, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),)), "at least 1"),
    "a name that is no identifier": (lambda: ModelConfig("a/b", 1, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),)), "identifier"),
    "a step that uses what nothing makes": (
        lambda: ModelConfig("m", 1, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),), steps=(Step("s", {"X": "X"}, {"B": "B"}),)),
        "nothing before it makes",
    ),
    "an output that no step makes": (
        lambda: ModelConfig("m", 1, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),), steps=(Step("s", {"A": "A"}, {"C": "C"}),)),
        "no step makes",
    ),
    "a tensor made twice": (
        lambda: ModelConfig(
            "m", 1, (Tensor("A", "FP32"),), (Tensor("B", "FP32"),),
            steps=(Step("s", {"A": "A"}, {"B": "B"}), Step("t", {"A": "A"}, {"B": "B"})),
        ),
        "a second time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_triton_could_not_serve_cannot_be_built(case: str) -> None:
    make, reason = BROKEN[case]
    with pytest.raises(BadInput, match=reason):
        make()


def test_requests_are_merged_before_the_cheap_steps_and_not_before_the_extraction() -> None:
    """In what Triton reads: it merges where, and only where, the text says so."""
    written = {name: to_pbtxt(config) for name, config in configurations(SPEC).items()}
    merged = {name for name, text in written.items() if re.search(r"^dynamic_batching \{\s*\}", text, re.MULTILINE)}
    assert merged == {"predictor", "post_processor"}
    assert not any("max_queue_delay" in text for text in written.values()), "nobody waits for others to come"
    assert all("max_batch_size: 16" in text for text in written.values())


def test_a_route_chooses_one_version_and_says_so() -> None:
    predictor = configurations(SPEC)["predictor"]
    assert (predictor.versions, predictor.parameters["route"]) == ((3,), "champion")
    fallback = with_route(predictor, "fallback")
    assert (fallback.versions, fallback.parameters["route"]) == ((4,), "fallback")
    assert with_route(fallback, "champion") == predictor


def test_a_route_without_a_version_is_refused() -> None:
    predictor = configurations(replace(SPEC, fallback=None))["predictor"]
    with pytest.raises(BadInput, match="no fallback"):
        with_route(predictor, "fallback")
    with pytest.raises(BadInput, match="no nobody"):
        with_route(predictor, "nobody")
