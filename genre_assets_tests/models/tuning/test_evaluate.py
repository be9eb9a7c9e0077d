"""Metrics agree with scikit-learn and imbalanced-learn; intervals are of groups, paired, and as wide as they must be."""

import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score

from genre_assets.models.tuning.evaluate import (
    Recordings,
    by_recording,
    calibration_bins,
    confusion,
    evaluate,
    g_mean,
    objective,
    paired_difference,
)

LABELS = ("a", "b", "c", "d")


def answers(n: int = 300, *, skill: float = 1.0, seed: int = 0, groups: int | None = None) -> Recordings:
    """Recordings of three of the four classes, with answers that are right more often for more skill."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, n)
    logits = random.normal(size=(n, 4)) + skill * np.eye(4)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array([f"r{i:04d}" for i in range(n)])
    of_group = names if groups is None else np.array([f"g{i % groups}" for i in range(n)])
    return Recordings(truth, probabilities, of_group, names)


def test_the_figures_are_those_of_the_libraries() -> None:
    songs = answers()
    figures = evaluate(songs, LABELS).metrics
    truth, predicted = songs.truth, songs.predicted
    expected = geometric_mean_score(truth, predicted, labels=[0, 1, 2], average="multiclass")
    assert figures["g_mean"].value == pytest.approx(expected)
    assert figures["accuracy"].value == pytest.approx((truth == predicted).mean())
    balanced = recall_score(truth, predicted, average=None, labels=[0, 1, 2]).mean()
    assert figures["balanced_accuracy"].value == pytest.approx(balanced)
    assert figures["log_loss"].value == pytest.approx(log_loss(truth, songs.probabilities, labels=[0, 1, 2, 3]))


def test_balanced_accuracy_is_scikit_learns_when_only_known_classes_are_predicted() -> None:
    songs = answers(skill=9)
    expected = balanced_accuracy_score(songs.truth, songs.predicted)
    assert evaluate(songs, LABELS).metrics["balanced_accuracy"].value == pytest.approx(expected)


def test_recalls_are_given_for_the_classes_that_occur() -> None:
    assert set(evaluate(answers(), LABELS).recalls) == {"a", "b", "c"}


def test_the_g_mean_is_zero_when_a_class_is_never_recognised_and_the_objective_is_not() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])
    assert g_mean(truth, predicted) == 0
    assert objective(truth, predicted, 4) == pytest.approx(np.sqrt(2.25 / 3 * 0.25 / 3))


def test_the_objective_has_one_value_under_one_name_and_is_the_g_mean_where_there_is_much_data() -> None:
    songs = answers(6_000, skill=2.0)
    metrics = evaluate(songs, LABELS).metrics
    assert metrics["objective"].value == pytest.approx(objective(songs.truth, songs.predicted, len(LABELS)))
    assert metrics["objective"].value == pytest.approx(metrics["g_mean"].value, abs=2e-3)
    few = answers(12, skill=2.0)
    assert evaluate(few, LABELS).objective.value == pytest.approx(objective(few.truth, few.predicted, len(LABELS)))


def test_a_perfect_model_has_no_calibration_error_and_a_boaster_has_all() -> None:
    truth = np.zeros(10, dtype=np.int64)
    names = np.array([f"r{i}" for i in range(10)])
    sure = np.eye(4)[truth]
    assert evaluate(Recordings(truth, sure, names, names), LABELS).metrics["calibration_error"].value == 0
    wrong = Recordings(truth, np.eye(4)[truth + 1], names, names)
    assert evaluate(wrong, LABELS).metrics["calibration_error"].value == pytest.approx(1)


def test_the_interval_covers_the_value_and_narrows_with_more_recordings() -> None:
    few, many = (evaluate(answers(n), LABELS).metrics["accuracy"] for n in (50, 5000))
    assert few.low < few.value < few.high
    assert (few.high - few.low) > 5 * (many.high - many.low)


def test_the_interval_holds_its_level() -> None:
    """Of 100 samples about 95 intervals hold the true accuracy (here: within chance of it)."""
    everyone = answers(200_000, seed=999)
    truth = (everyone.truth == everyone.predicted).mean()
    found = [evaluate(answers(200, seed=s), LABELS).metrics["accuracy"] for s in range(100)]
    assert 88 <= sum(i.low <= truth <= i.high for i in found) <= 100


def test_drawing_in_blocks_gives_as_many_draws_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(answers(100), LABELS).metrics["accuracy"]
    monkeypatch.setattr("genre_assets.models.tuning.evaluate.CELLS", 70_001)
    parts = evaluate(answers(100), LABELS).metrics["accuracy"]
    assert (parts.value, parts.low, parts.high) == pytest.approx((whole.value, whole.low, whole.high), abs=0.01)


def test_few_groups_give_a_wider_interval_than_many_independent_recordings() -> None:
    random = np.random.default_rng(3)
    truth = np.repeat(random.integers(0, 3, 20), 15)
    right = np.repeat(random.random(20) < 0.6, 15)
    probabilities = np.eye(4)[np.where(right, truth, 3)]
    names = np.array([f"r{i:03d}" for i in range(300)])
    artists = np.repeat([f"g{i}" for i in range(20)], 15)
    alone = evaluate(Recordings(truth, probabilities, names, names), LABELS).metrics["accuracy"]
    grouped = evaluate(Recordings(truth, probabilities, artists, names), LABELS).metrics["accuracy"]
    assert (grouped.high - grouped.low) > 2 * (alone.high - alone.low)


def test_pairing_makes_the_interval_of_a_difference_narrower_than_the_intervals_themselves() -> None:
    good = answers(skill=2.0)
    worse = Recordings(good.truth, good.probabilities.copy(), good.groups, good.names)
    worse.probabilities[:10] = np.eye(4)[3]
    difference = paired_difference(good, worse, 4)
    assert 0 < difference.low < difference.value < difference.high
    alone = evaluate(good, LABELS).objective
    assert (difference.high - difference.low) < (alone.high - alone.low)


def test_a_model_does_not_differ_from_itself() -> None:
    difference = paired_difference(answers(), answers(), 4)
    assert (difference.low, difference.value, difference.high) == (0, 0, 0)


def test_answers_for_other_recordings_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same recordings"):
        paired_difference(answers(10), answers(11), 4)


def test_segments_vote_for_their_recording() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    songs = by_recording(np.array([0, 0, 1]), probabilities, ["x", "x", "y"], ["one", "one", "two"])
    np.testing.assert_allclose(songs.probabilities, [[0.65, 0.35], [0.2, 0.8]])
    assert (songs.truth.tolist(), songs.groups.tolist(), songs.names.tolist()) == ([0, 1], ["x", "y"], ["one", "two"])


def test_the_confusion_counts_true_rows_and_predicted_columns() -> None:
    table = confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert table.tolist() == [[1, 1], [0, 1]]


def test_reliability_bins_hold_every_recording_once() -> None:
    confidence, accuracy, counts = calibration_bins(answers(100))
    assert counts.sum() == 100
    assert len(confidence) == len(accuracy) == len(counts)
