"""The search: it resumes with no trial lost, does not depend on interruptions or cores, and says what stops it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from genre_assets.database import Database
from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.models.data.split import TRAIN
from genre_assets.models.data.training import Part
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.tuning import tune
from genre_assets_tests.models.conftest import synthetic_training_set

FAMILY = FAMILIES["k_neighbors"]


@pytest.fixture(scope="module")
def rows() -> Part:
    return synthetic_training_set(5, difficulty=2.5).part(TRAIN)


def search(rows: Part, url: str, trials: int = 10, seconds: float = 300.0, workers: int = 2) -> tune.Search:
    budget = tune.Budget(trials, seconds)
    return tune.search(FAMILY, rows, storage_url=url, data_version="d", budget=budget, seed=1, workers=workers)


def tried(found: tune.Search) -> list[tuple[int, str, dict[str, Any], float | None]]:
    return [(t.number, t.state.name, t.params, t.value) for t in found.trials]


def url(folder: Path, name: str = "studies") -> str:
    return f"sqlite:///{folder / name}.db"


def test_a_finished_study_is_not_repeated(rows: Part, tmp_path: Path) -> None:
    first = search(rows, url(tmp_path))
    again = search(rows, url(tmp_path))
    assert tried(again) == tried(first)
    assert (first.taken_up, again.taken_up) == (0, 10)
    assert again.params == first.params


SEARCHER = """
import sys
from genre_assets_tests.models.tuning.test_tune import search
from genre_assets_tests.models.conftest import synthetic_training_set
from genre_assets.models.data.split import TRAIN
print(len(search(synthetic_training_set(5, difficulty=2.5).part(TRAIN), sys.argv[1], trials=24).trials))
"""


def test_two_builds_at_once_search_one_study_without_harm(rows: Part, database: Database, tmp_path: Path) -> None:
    storage = database.url.replace("postgresql://", "postgresql+psycopg2://")
    command = [sys.executable, "-c", SEARCHER, storage]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(searcher.communicate(timeout=200), searcher.returncode) for searcher in both]
    assert [(out.strip(), code) for (out, _), code in ended] == [("24", 0)] * 2, ended
    alone = search(rows, url(tmp_path), trials=24)
    assert tried(search(rows, storage, trials=24)) == tried(alone)


def test_a_larger_budget_goes_on_where_the_smaller_ended(rows: Part, tmp_path: Path) -> None:
    small = search(rows, url(tmp_path), trials=4)
    large = search(rows, url(tmp_path), trials=10)
    assert tried(large)[:4] == tried(small)
    assert len(large.trials) == 10


def test_the_number_of_cores_does_not_change_the_result(rows: Part, tmp_path: Path) -> None:
    alone = search(rows, url(tmp_path, "one"), workers=1)
    together = search(rows, url(tmp_path, "four"), workers=4)
    assert tried(together) == tried(alone)


@pytest.fixture(scope="module")
def undisturbed(rows: Part, tmp_path_factory: pytest.TempPathFactory) -> tune.Search:
    return search(rows, url(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("at", [24, 27, 33])
def test_an_interrupted_study_loses_no_trial_and_ends_as_if_nothing_had_happened(
    at: int, rows: Part, undisturbed: tune.Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As a kill: no handler of ours sees it."""

    fits = 0

    def killed_in_the_middle(*arguments: Any) -> Any:
        nonlocal fits
        fits += 1
        if fits == at:
            raise Killed
        return real(*arguments)

    real = tune._fit_rest
    monkeypatch.setattr(tune, "_fit_rest", killed_in_the_middle)
    with pytest.raises(Killed):
        search(rows, url(tmp_path, "disturbed"))
    monkeypatch.setattr(tune, "_fit_rest", real)
    before = optuna.load_study(study_name=tune.study_name(FAMILY, "d", 1), storage=url(tmp_path, "disturbed")).trials
    assert any(t.state is optuna.trial.TrialState.RUNNING for t in before)
    assert any(t.state.is_finished() for t in before)

    resumed = search(rows, url(tmp_path, "disturbed"))
    assert tried(resumed) == tried(undisturbed)


def test_other_data_or_another_search_space_is_another_study() -> None:
    names = {
        tune.study_name(FAMILY, "d", 1),
        tune.study_name(FAMILY, "e", 1),
        tune.study_name(FAMILY, "d", 2),
        tune.study_name(FAMILIES["xgboost"], "d", 1),
    }
    assert len(names) == 4


def test_the_first_trial_has_the_defaults(rows: Part, tmp_path: Path) -> None:
    found = search(rows, url(tmp_path), trials=2)
    assert found.trials[0].params == dict(FAMILY.defaults)


def test_hopeless_trials_are_pruned(rows: Part, tmp_path: Path) -> None:
    found = search(rows, url(tmp_path), trials=24)
    pruned = [t for t in found.trials if t.state is optuna.trial.TrialState.PRUNED]
    assert pruned
    assert all(len(t.intermediate_values) < tune.FOLDS for t in pruned)
    assert found.score == max(t.value for t in found.trials if t.state is optuna.trial.TrialState.COMPLETE)


def test_the_time_budget_ends_a_search_that_has_something_to_show(rows: Part, tmp_path: Path) -> None:
    found = search(rows, url(tmp_path), trials=10_000, seconds=4)
    assert 0 < len(found.trials) < 10_000


def test_a_fit_that_fails_costs_its_trial_only(rows: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tune._fit_rest

    def fails_for_uniform_votes(family: Any, params: Any, *rest: Any) -> Any:
        if params["votes"] == "uniform":
            raise np.linalg.LinAlgError("not positive definite")
        return real(family, params, *rest)

    monkeypatch.setattr(tune, "_fit_rest", fails_for_uniform_votes)
    found = search(rows, url(tmp_path))
    assert {t.state.name for t in found.trials} >= {"FAIL", "COMPLETE"}
    assert found.params["votes"] == "distance"


def test_a_study_in_which_nothing_can_be_fitted_says_so(
    rows: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(tune, "_fit_rest", fails)
    with pytest.raises(PermanentFailure, match="no trial of the study"):
        search(rows, url(tmp_path))


def test_one_group_or_one_genre_is_refused(rows: Part, tmp_path: Path) -> None:
    one_genre = rows.take(rows.labels == rows.labels[0])
    one_group = rows.take(rows.groups == rows.groups[0])
    for few in (one_genre, one_group):
        with pytest.raises(BadInput, match="at least two groups and two genres"):
            search(few, url(tmp_path))


def test_a_study_store_that_is_away_is_named_without_its_password(rows: Part) -> None:
    with pytest.raises(TransientFailure, match="does not answer") as caught:
        search(rows, "postgresql+psycopg2://genre:topsecret@127.0.0.1:1/optuna")
    assert "topsecret" not in str(caught.value)


def test_out_of_fold_answers_come_from_models_that_never_saw_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = synthetic_training_set(5).part(TRAIN)
    seen: list[tuple[set[str], set[str]]] = []
    real = tune._fit_rest

    def spy(family: Any, params: Any, part: Part, held: Any, seed: int) -> Any:
        rest = np.setdiff1d(np.arange(len(part)), held)
        seen.append((set(part.groups[held]), set(part.groups[rest])))
        return real(family, params, part, held, seed)

    monkeypatch.setattr(tune, "_fit_rest", spy)
    answers = tune.out_of_fold(FAMILY, FAMILY.defaults, rows, 1)
    assert answers.shape == (len(rows), 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    assert all(not held & rest for held, rest in seen)
