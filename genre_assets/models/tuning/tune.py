"""Hyper-parameter search: Optuna studies that live in a database and can be taken up again at any point.

Trials are asked for in batches of a fixed size, evaluated in parallel and told in order; each trial's sampler is
seeded by its number. The result therefore depends on data, budget and seed alone, not on the number of cores and not
on whether the search was interrupted (unless the time budget ends it).
"""

import hashlib
import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.models.data.split import folds
from genre_assets.models.data.training import Part
from genre_assets.models.families.classifier import Family, Params
from genre_assets.models.tuning import evaluate

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

log = logging.getLogger(__name__)
BATCH = 4
"""Trials that are asked for together; a constant, so that the search does not depend on the machine."""
FOLDS = 5
OBJECTIVE_VERSION = "2"
"""Changes with what a trial's value means: values of two kinds must not stand in one study."""


@dataclass(frozen=True)
class Budget:
    """When a search ends: at `trials` finished trials, or after `seconds` of this attempt."""

    trials: int
    seconds: float


@dataclass(frozen=True)
class Search:
    """What a search found. `trials` are all finished ones, `taken_up` how many of them an earlier attempt had done."""

    study: str
    params: Params
    score: float
    trials: Sequence["FrozenTrial"]
    taken_up: int
    seconds: float


def study_name(family: Family, data_version: str, seed: int) -> str:
    """One study for each family, search space, objective, data set and seed; a larger budget continues it."""
    return f"{family.name}-v{family.version}.{OBJECTIVE_VERSION}-{data_version}-{seed}"


def search(
    family: Family, rows: Part, *, storage_url: str, data_version: str, budget: Budget, seed: int, workers: int = 0
) -> Search:
    """Find the parameters with the best cross-validated objective (`evaluate.objective`) over the training rows.

    Raises `BadInput` when the rows have fewer than two groups or classes, `TransientFailure` when the storage is away,
    `PermanentFailure` when no trial at all could be fitted.
    """
    if len(set(rows.groups)) < 2 or len(np.unique(rows.labels)) < 2:
        raise BadInput("tuning needs training rows of at least two groups and two genres; add recordings")
    began = time.monotonic()
    held_out = folds(rows.groups.tolist(), rows.labels, FOLDS, seed)
    name = study_name(family, data_version, seed)
    with _quiet_optuna(), _storage_errors(storage_url), _alone(storage_url, name):
        study = _open_study(storage_url, name, family)
        taken_up = _finished(study)
        with ThreadPoolExecutor(cores(workers)) as pool, _one_blas_thread():
            while _finished(study) < budget.trials and time.monotonic() - began < budget.seconds:
                batch = _interrupted(study) or _ask(study, family, seed, budget.trials)
                outcomes = list(pool.map(lambda t: _run(t, family, rows, held_out, seed), batch))
                for trial, outcome in zip(batch, outcomes, strict=True):
                    _tell(study, trial, outcome)
                log.info("%s: %d of %d trials", name, _finished(study), budget.trials)
        best = _best(study, name)
    params = {**family.defaults, **best.params}
    return Search(name, params, best.value or 0.0, _finished_trials(study), taken_up, time.monotonic() - began)


def out_of_fold(family: Family, params: Params, rows: Part, seed: int) -> NDArray[np.float64]:
    """For each training row the answer of a model that saw nothing of its group, [n, n_classes]."""
    answers = np.zeros((len(rows), rows.classes))
    with _one_blas_thread():
        for held in folds(rows.groups.tolist(), rows.labels, FOLDS, seed):
            answers[held] = _fit_rest(family, params, rows, held, seed)
    return answers


def cores(wanted: int = 0) -> int:
    """`wanted`, or the cores that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def _fit_rest(family: Family, params: Params, rows: Part, held: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    mask = np.ones(len(rows), dtype=bool)
    mask[held] = False
    return family.fit(params, rows.take(mask), seed).probabilities(rows.features[held])


def _run(
    trial: "Trial", family: Family, rows: Part, held_out: list[NDArray[np.int64]], seed: int
) -> float | Exception | None:
    """The trial's score, None if it was pruned, or what went wrong in the fit."""
    params = {**family.defaults, **family.suggest(trial), **family.while_searching}
    reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    seen: list[NDArray[np.int64]] = []
    answers = np.zeros((len(rows), rows.classes))
    score = 0.0
    for step, held in enumerate(held_out):
        try:
            answers[held] = _fit_rest(family, params, rows, held, seed)
        except (ValueError, np.linalg.LinAlgError) as error:
            return error
        seen.append(held)
        score = _score(rows.take(np.concatenate(seen)), answers[np.concatenate(seen)])
        if step not in reported:
            trial.report(score, step)
        # A trial that is run again was not pruned at the steps before the last that it had reported.
        if len(held_out) - 1 > step >= max(reported, default=0) and trial.should_prune():
            return None
    return score


def _score(rows: Part, answers: NDArray[np.float64]) -> float:
    songs = evaluate.by_recording(rows.labels, answers, rows.groups.tolist(), rows.recordings.tolist())
    return evaluate.objective(songs.truth, songs.predicted, rows.classes)


@contextmanager
def _alone(storage_url: str, study: str) -> Iterator[None]:
    """One search of a study at a time, over all processes: two that tell its trials would contradict each other.

    The second waits, and then finds the trials of the first. A lock of PostgreSQL, gone with the process that held it;
    other storages have none.
    """
    if not storage_url.startswith("postgresql"):
        yield
        return
    import psycopg2

    connection = psycopg2.connect(storage_url.replace("+psycopg2", ""), connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (study,))
            (alone,) = cursor.fetchone() or (False,)
            if not alone:
                log.info("%s: another run searches this study; this one waits for it", study)
                cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (study,))
        yield
    finally:
        connection.close()


def _open_study(storage_url: str, name: str, family: Family) -> "Study":
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    storage = optuna.storages.RDBStorage(storage_url)
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(family.defaults))
    return study


def _ask(study: "Study", family: Family, seed: int, budget: int) -> list["Trial"]:
    import optuna

    batch = []
    first = len([t for t in study.get_trials(deepcopy=False) if t.state != optuna.trial.TrialState.WAITING])
    for number in range(first, min(first + BATCH, first + budget - _finished(study))):
        study.sampler = optuna.samplers.TPESampler(
            seed=_seed(seed, number), n_startup_trials=8, multivariate=True, group=True, constant_liar=True
        )
        trial = study.ask()
        family.suggest(trial)  # now, so that the stored trial is complete before any work is done
        batch.append(trial)
    return batch


def _interrupted(study: "Study") -> list["Trial"]:
    """Trials that an earlier attempt had begun: they are run again with the parameters they have."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    # Optuna has no public way to go on with a trial; a test goes through here, so that a change there is seen.
    return [optuna.trial.Trial(study, frozen._trial_id) for frozen in running]  # noqa: SLF001


def _tell(study: "Study", trial: "Trial", outcome: float | Exception | None) -> None:
    from optuna.trial import TrialState

    if isinstance(outcome, Exception):
        log.warning("trial %d could not be fitted: %s", trial.number, outcome)
        study.tell(trial, state=TrialState.FAIL)
    elif outcome is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome)


def _finished_trials(study: "Study") -> list["FrozenTrial"]:
    return [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]


def _finished(study: "Study") -> int:
    return len(_finished_trials(study))


def _best(study: "Study", name: str) -> "FrozenTrial":
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise PermanentFailure(
            f"no trial of the study {name} could be finished: raise GENRE_TUNING_SECONDS, or read the run's log for "
            "what went wrong in the fits"
        )
    return max(complete, key=lambda t: (t.value or 0.0, -t.number))


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}-{number}".encode(), digest_size=4).digest(), "big")


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


@contextmanager
def _storage_errors(storage_url: str) -> Iterator[None]:
    import psycopg2
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (StorageInternalError, OperationalError, psycopg2.OperationalError) as error:
        where = make_url(storage_url).render_as_string(hide_password=True)
        raise TransientFailure(
            f"the database of the studies does not answer ({where}: {error}); finished trials are kept, run it again"
        ) from error


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Trials are what runs in parallel: a BLAS that takes all cores for each of them would oversubscribe."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
