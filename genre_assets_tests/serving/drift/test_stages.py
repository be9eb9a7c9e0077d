"""A p-value from as few resamples as it needs: valid at every level, and the decision of all resamples."""

import numpy as np
import pytest

from genre_assets.serving.drift import answers, detection, mix, null, reference, stages
from genre_assets.serving.drift.null import Baseline
from genre_assets_tests.serving.drift.data import features, reference_frame

TOTAL, LOW = 499, 0.05


def counted(ranks: np.ndarray, used: list[int]) -> float:
    """The staged p-value of a real window (the first number) among resampled ones."""

    def share(count: int) -> tuple[float, None]:
        used.append(count)
        return (1 + int((ranks[1 : count + 1] >= ranks[0]).sum())) / (1 + count), None

    return stages.ask(share, len(ranks) - 1, LOW)[0]


def test_the_bounds_fall_and_lie_above_what_leads_to_anything() -> None:
    (few, high), (more, low) = stages.stages(TOTAL, LOW)
    assert (few, more) == (99, 249)
    assert high > low > LOW
    assert stages.stages(1, LOW) == ()
    assert [count for count, _ in stages.stages(199, LOW)] == [99]


def test_a_staged_p_value_is_valid_at_every_level_and_decides_as_all_resamples_do() -> None:
    """8,000 windows that have not drifted: ranks are exchangeable, whatever the statistic is."""
    random, found, used = np.random.default_rng(1), [], list[int]()
    for _ in range(8000):
        ranks = random.random(TOTAL + 1)
        p_value = counted(ranks, used)
        found.append(p_value)
        full = (1 + (ranks[1:] >= ranks[0]).sum()) / (TOTAL + 1)
        assert detection.level(p_value, 0.01) is detection.level(full, 0.01)
        assert p_value == full or full > LOW
    for level in (0.002, 0.01, 0.05, 0.1, 0.15, 0.2, 0.5, 0.9):
        share, error = np.mean(np.array(found) <= level), np.sqrt(level * (1 - level) / len(found))
        assert share <= level + 4 * error
    assert np.mean(np.array(found) <= 0.01) > 0.005  # nor is it timid
    assert np.mean(np.diff(np.flatnonzero(np.array(used) == 99)) == 1) > 0.75  # most ask no second time


@pytest.fixture(scope="module")
def base() -> Baseline:
    return null.baseline(reference.from_frame(reference_frame()))


@pytest.mark.parametrize("seed", range(4))
def test_windows_of_all_kinds_get_the_level_of_all_resamples(
    base: Baseline, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    for number in range(8):
        genres = np.full(64, number) if number % 3 == 2 else None
        values = features(64, random, genres) * np.float32(np.exp(0.012 * number))  # from none to plain drift
        probabilities = np.eye(10, dtype=np.float32)[random.integers(0, 10, 64)] * 0.6 + 0.04
        told = [_told(base, values, probabilities, number)]
        with monkeypatch.context() as patch:
            patch.setattr(stages, "stages", lambda *_: ())
            told.append(_told(base, values, probabilities, number))
        assert [level for level, _ in told[0]] == [level for level, _ in told[1]]
        assert all(few == full or full > LOW for (_, few), (_, full) in zip(*told, strict=True))


def _told(
    base: Baseline, values: np.ndarray, probabilities: np.ndarray, seed: int
) -> list[tuple[detection.Level, float]]:
    drift = detection.feature_drift(base, values, seed=seed)
    known, undrifted = base.reference, drift.undrifted
    found = [asked(known, undrifted, probabilities, 0.01) for asked in (answers.label_mix, answers.confidence)]
    return [(drift.level, drift.p_value), *((finding.level, finding.values["p_value"]) for finding in found)]


def test_a_plain_case_draws_few_windows_and_a_drifted_one_all(base: Baseline) -> None:
    usual, drifted = (
        [detection.feature_drift(base, features(64, np.random.default_rng(i)) * np.float32(by)) for i in range(6)]
        for by in (1, 1.3)
    )
    drawn = [[sum(len(block.rows) for block in one.undrifted._drawn) for one in found] for found in (usual, drifted)]
    assert drawn[0].count(99) >= 3
    assert drawn[1] == [499] * 6


def test_the_same_windows_are_drawn_at_once_and_in_parts(base: Baseline) -> None:
    shares = np.full(10, 0.1, np.float32)
    parts, whole = (null.Undrifted(base, shares, 32, 5) for _ in range(2))
    parts.first(99)
    for few, all_ in zip(vars(parts.first(499)).values(), vars(whole.first(499)).values(), strict=True):
        np.testing.assert_allclose(few, all_, atol=2e-6)


@pytest.mark.parametrize(("genres", "scores"), [(10, 74), (10, 4), (2, 2), (1, 3), (40, 74)])
def test_the_nearest_mixture_is_the_one_that_descent_approaches(genres: int, scores: int) -> None:
    """Also of more genres than scores, where many mixtures are equally near."""
    random = np.random.default_rng(genres)
    means = random.normal(size=(20, genres, scores)).astype(np.float32)
    windows = (random.normal(size=(20, scores)) + means[:, 0]).astype(np.float32)
    gram = mix.products(means)
    target = (means @ windows[:, :, None])[:, :, 0].astype(np.float64)
    distances = [
        (0.5 * np.einsum("wi,wij,wj->w", p, gram, p) - (p * target).sum(axis=1))
        for p in (mix.best_fit(means, windows).astype(np.float64), mix._descend(gram, target))
    ]
    assert np.all(distances[0] <= distances[1] + 1e-4)
    shares = mix.best_fit(means, windows)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_windows_on_which_the_exchange_goes_in_circles_are_left_to_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    means, windows = random.normal(size=(1, 10, 20)), random.normal(size=(5, 20))
    exact = mix.best_fit(means.astype(np.float32), windows.astype(np.float32))
    monkeypatch.setattr(mix, "EXCHANGES", 0)
    np.testing.assert_allclose(mix.best_fit(means.astype(np.float32), windows.astype(np.float32)), exact, atol=1e-4)
