"""The gate: sure gains pass, lucky ones and forgetful ones do not; the fallback is another family."""

import numpy as np
import pytest

from genre_assets.models.selection.select import Candidate, challenge, choose_fallback, first_champion
from genre_assets.models.tuning.evaluate import Recordings, evaluate

LABELS = ("a", "b", "c", "d")


def candidate(
    version: int, wrong: int, *, n: int = 400, family: str = "xgboost", forget: int | None = None
) -> Candidate:
    """A model that errs on `wrong` recordings, and on all of the class `forget`."""
    truth = np.arange(n) % 4
    predicted = truth.copy()
    predicted[np.random.default_rng(version).permutation(n)[:wrong]] = 3
    if forget is not None:
        predicted[truth == forget] = (forget + 1) % 4
    names = np.array([f"r{i:04d}" for i in range(n)])
    songs = Recordings(truth, np.eye(4)[predicted], names, names)
    return Candidate(version, family, songs, evaluate(songs, LABELS))


def gate(
    champion: Candidate, *challengers: Candidate, margin: float = 0.0, recall_floor: float = 0.0
) -> tuple[int, bool]:
    verdict = challenge(champion, challengers, 4, margin=margin, recall_floor=recall_floor)
    return verdict.version, verdict.changed


def test_a_surely_better_challenger_wins() -> None:
    assert gate(candidate(1, wrong=160), candidate(2, wrong=40)) == (2, True)


def test_a_challenger_that_is_better_by_luck_does_not_win() -> None:
    lucky = candidate(2, wrong=88)
    champion = candidate(1, wrong=100)
    assert lucky.evaluation.objective.value > champion.evaluation.objective.value
    assert gate(champion, lucky) == (1, False)


def test_the_same_gain_on_few_recordings_is_not_sure() -> None:
    assert gate(candidate(1, wrong=8, n=20), candidate(2, wrong=2, n=20)) == (1, False)


def test_a_gain_below_the_margin_does_not_win() -> None:
    champion, better = candidate(1, wrong=160), candidate(2, wrong=40)
    assert gate(champion, better, margin=0.9) == (1, False)


def test_a_challenger_that_forgets_a_genre_does_not_win() -> None:
    champion = candidate(1, wrong=390)
    forgetful = candidate(2, wrong=60)
    worst = min(r.value for r in forgetful.evaluation.recalls.values())
    assert gate(champion, forgetful, recall_floor=worst - 0.01) == (2, True)
    assert gate(champion, forgetful, recall_floor=worst + 0.01) == (1, False)


def test_of_several_that_pass_the_surest_wins() -> None:
    assert gate(candidate(1, wrong=200), candidate(2, wrong=100), candidate(3, wrong=20)) == (3, True)


def test_the_verdict_shows_every_challenger_even_when_the_champion_stays() -> None:
    verdict = challenge(
        candidate(1, wrong=40), [candidate(2, wrong=80, family="linear")], 4, margin=0.0, recall_floor=0.0
    )
    assert verdict.evidence["challengers"]["2"]["family"] == "linear"
    assert "[" in verdict.evidence["challengers"]["2"]["difference of the objective"]
    assert verdict.reason == "version 1 stays: no challenger is surely better on 400 held-out recordings"


def test_the_first_champion_is_the_best_in_cross_validation_and_ties_go_to_the_older() -> None:
    assert first_champion({v: {"objective": o} for v, o in {1: 0.5, 2: 0.7, 3: 0.6}.items()}).version == 2
    assert first_champion({v: {"objective": 0.7} for v in (4, 2)}).version == 2


def test_equal_objectives_are_told_apart_by_the_balanced_accuracy() -> None:
    scores = {1: {"objective": 0.7, "balanced_accuracy": 0.7}, 2: {"objective": 0.7, "balanced_accuracy": 0.75}}
    assert first_champion(scores).version == 2


@pytest.mark.parametrize(("refused", "chosen"), [((), 1), ((1,), 2), ((1, 2), 3), ((1, 2, 3), None)])
def test_the_fallback_is_the_most_robust_to_which_there_is_no_objection(
    refused: tuple[int, ...], chosen: int | None
) -> None:
    objections = {version: "it guesses" if version in refused else None for version in (1, 2, 3)}
    assert choose_fallback(objections, {1: 0.9, 2: 0.8, 3: 0.8}) == chosen
