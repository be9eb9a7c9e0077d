"""Every family: it learns, it is deterministic, and its ONNX graph answers as its estimator does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import optuna
import pytest
from sklearn.preprocessing import PowerTransformer

from genre_assets.models.data.split import TRAIN, VALIDATION
from genre_assets.models.data.training import Part
from genre_assets.models.families import linear
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.families.classifier import Classifier, Family, sample_weights
from genre_assets.models.families.forest import Forest
from genre_assets.models.onnx.graph import temper
from genre_assets.models.onnx.portable import INPUT, OUTPUT
from genre_assets_tests.models.conftest import synthetic_training_set

WIDTH = 37
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def parts(clips: int = 4, **options: Any) -> tuple[Part, Part]:
    made = synthetic_training_set(clips, **options)
    return made.part(TRAIN), made.part(VALIDATION)


def graph_answers(model: Classifier, features: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.to_onnx(features.shape[1], temperature).SerializeToString())
    answer: np.ndarray = session.run([OUTPUT], {INPUT: features})[0]
    return answer


def combinations(family: Family, count: int = 25) -> list[dict[str, Any]]:
    """Parameters all over the search space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [{**family.defaults, **family.suggest(study.ask())} for _ in range(count)]


@every_family
def test_a_family_learns(family: Family) -> None:
    train, held = parts(8)
    answers = family.fit(family.defaults, train, 1).probabilities(held.features)
    assert (answers.argmax(axis=1) == held.labels).mean() > 0.8
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@every_family
def test_the_same_data_and_seed_give_the_same_model(family: Family) -> None:
    train, held = parts()
    first, second = (family.fit(family.defaults, train, 7).probabilities(held.features) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_family
def test_the_graph_answers_as_the_estimator_does_all_over_the_search_space(family: Family) -> None:
    train, held = parts(8, difficulty=2.0)
    rows = np.vstack([train.features, held.features, 30 * held.features])
    for params in combinations(family):
        model = family.fit(params, train, 1)
        expected = temper(model.probabilities(rows), 0.7)
        assert np.abs(graph_answers(model, rows, 0.7) - expected).max() < 1e-5, params


@every_family
def test_the_defaults_lie_in_the_search_space(family: Family) -> None:
    study = optuna.create_study()
    study.enqueue_trial(dict(family.defaults))
    chosen = family.suggest(study.ask())
    assert {name: family.defaults[name] for name in chosen} == chosen


@every_family
@pytest.mark.parametrize("genres", [("jazz", "rock"), ("blues", "hiphop", "metal")])
def test_labels_that_training_never_saw_get_nearly_nothing(family: Family, genres: tuple[str, ...]) -> None:
    """As labels are whose recordings are all held out."""
    train, held = parts(8, genres=genres)
    model = family.fit(family.defaults, replace(train, labels=2 * train.labels + 1, classes=10), 1)
    answers = graph_answers(model, held.features)
    assert answers[:, [0, 2, 4, 6, 7, 8, 9]].max() < 0.02
    assert answers.shape[1] == 10
    np.testing.assert_allclose(answers, temper(model.probabilities(held.features), 1.0), atol=1e-5)


@every_family
def test_importance_is_a_share_of_each_column(family: Family) -> None:
    shares = family.fit(family.defaults, parts()[0], 1).importance()
    if shares is not None:
        assert shares.shape == (WIDTH,)
        assert shares.sum() == pytest.approx(1)


def test_a_threshold_between_two_floats_sends_the_row_where_scikit_learn_does() -> None:
    """x <= t with a 64-bit t must not change its answer when t becomes 32-bit: the conversion has to round down."""
    above = np.nextafter(np.float32(0.1), np.float32(1))
    train = Part(
        np.array([[np.float32(0.1)], [above]] * 20),
        np.array([0, 1] * 20),
        np.arange(40).astype(str),
        np.arange(40).astype(str),
        2,
    )
    model = FAMILIES["random_forest"].fit(dict(FAMILIES["random_forest"].defaults) | {"max_features": 1.0}, train, 1)
    assert isinstance(model, Forest)
    assert (model.estimator.estimators_[0].tree_.threshold[0]) not in (np.float32(0.1), above)
    np.testing.assert_allclose(
        graph_answers(model, train.features), temper(model.probabilities(train.features), 1.0), atol=1e-6
    )


def test_balanced_weights_give_each_class_the_same_sum() -> None:
    labels = np.array([0] * 8 + [3] * 2)
    rows = Part(np.zeros((10, 1), np.float32), labels, np.empty(10, str), np.empty(10, str), 4)
    weights = sample_weights({"balance": "weights"}, rows)
    assert weights is not None
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 3].sum())
    assert weights.mean() == pytest.approx(1)
    assert sample_weights({"balance": "none"}, rows) is None


def test_the_power_transform_is_scikit_learns() -> None:
    values = np.random.default_rng(0).normal(size=(50, 2))
    exponents = np.array([0.55, 2.35])
    theirs = PowerTransformer(standardize=False).fit(values)
    theirs.lambdas_ = exponents
    np.testing.assert_allclose(linear.power(values, exponents), theirs.transform(values))


def test_the_exponents_are_the_likeliest_of_the_grid() -> None:
    skewed = np.random.default_rng(0).gamma(1.5, size=(2000, 1)) - 0.5
    theirs = PowerTransformer().fit(skewed).lambdas_[0]
    assert linear.likeliest_exponents(skewed)[0] == pytest.approx(theirs, abs=0.06)


def test_opset_and_ir_are_those_that_the_serving_environment_loads(tmp_path: Path) -> None:
    train, _ = parts()
    for family in FAMILIES.values():
        made = family.fit(family.defaults, train, 1).to_onnx(WIDTH, 1.0)
        assert made.ir_version <= 9
        assert {o.domain: o.version for o in made.opset_import} == {"": 17, "ai.onnx.ml": 3}
