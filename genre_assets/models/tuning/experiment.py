"""One family's experiment in the registry: taken over when it is finished already, else trained, logged, registered."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.errors import BadInput
from genre_assets.models.data.training import TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.families.classifier import Family
from genre_assets.models.mlflow import mlmodel
from genre_assets.models.mlflow.registry import MODEL_FOLDER, ModelRegistry, RegisteredVersion
from genre_assets.models.mlflow.tracking import CUT_TAG, DataInput, TrialRecord
from genre_assets.models.onnx.portable import read_manifest
from genre_assets.models.tuning import card, fit, plots, tune, vote
from genre_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

CODE_VERSION = "2"
"""Changes when training gives another model for the same data, parameters and seed."""
REFERENCE = "reference/part.parquet"
CARD = "report/model_card.md"
PLOTS = "report"


@dataclass(frozen=True)
class Outcome:
    """A registered model of one family; `reused` when nothing had to be done."""

    version: RegisteredVersion
    reused: bool
    key: str
    seconds: float
    card: str
    pictures: Mapping[str, bytes]


def experiment_key(family: Family, training: TrainingSet, settings: Settings) -> str:
    """Everything that the model depends on: the same key, the same model."""
    trials = trials_of(family, settings)
    study = tune.study_name(family, training.manifest.version, settings.seed)
    return f"{study}-{trials}-c{CODE_VERSION}"


def trials_of(family: Family, settings: Settings) -> int:
    """The family's budget of trials: by its setting if it has one, else its own."""
    return int(getattr(settings, f"trials_{family.name}", family.trials))


def obtain(
    family: Family, training: TrainingSet, settings: Settings, registry: ModelRegistry, parent: str | None = None
) -> Outcome:
    """The family's model for this training set: the registered one if there is one, else a new version.

    A new one's run is shown below `parent`, a run of MLflow.
    """
    key = experiment_key(family, training, settings)
    for found in registry.versions(key=key):
        return _reported(registry, found, key)

    def train() -> fit.Trained:
        return fit.train(
            family,
            training,
            storage_url=settings.optuna_url.get_secret_value(),
            budget=tune.Budget(trials_of(family, settings), settings.tuning_seconds),
            seed=settings.seed,
            workers=settings.workers,
        )

    name = f"{family.name}, {trials_of(family, settings)} trials, data {training.manifest.version[:6]}"
    return _run(family.name, key, train, training, registry, settings.features_bucket, parent, name)


def obtain_vote(
    training: TrainingSet, settings: Settings, registry: ModelRegistry, parent: str | None = None
) -> Outcome:
    """The vote of all families' models for this training set; `parent` as in `obtain`. Raises `BadInput` when one is not registered yet."""
    members = []
    for family in FAMILIES.values():
        found = registry.versions(key=experiment_key(family, training, settings))
        if not found:
            raise BadInput(f"the vote needs a model of every family; materialise tuned_{family.name} first")
        members.append(found[0])
    numbers = "-".join(str(m.version) for m in members)
    key = f"{vote.NAME}-v{vote.VERSION}-{training.manifest.version}-of-{numbers}-c{CODE_VERSION}"
    for version in registry.versions(key=key):
        return _reported(registry, version, key)

    def train() -> fit.Trained:
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary)
            folders = [registry.download(m.version, root / f"v{m.version}") for m in members]
            references = [reference_of(registry, m, root / f"r{m.version}") for m in members]
            return vote.build(folders, references, training, seed=settings.seed)

    name = f"{vote.NAME} of versions {numbers.replace('-', ', ')}, data {training.manifest.version[:6]}"
    return _run(vote.NAME, key, train, training, registry, settings.features_bucket, parent, name)


def reference_of(registry: ModelRegistry, version: RegisteredVersion, folder: Path) -> "pd.DataFrame":
    """A version's training rows with its out-of-fold answers."""
    import pandas as pd

    return pd.read_parquet(registry.artifact(version.run_id, REFERENCE, folder))


def _run(
    family: str,
    key: str,
    train: Callable[[], fit.Trained],
    training: TrainingSet,
    registry: ModelRegistry,
    bucket: str,
    parent: str | None = None,
    name: str = "",
) -> Outcome:
    """Train within a run of the registry, and register what comes out. A run that fails is closed as failed.

    `bucket` holds the training set.
    """
    data = training.manifest
    tags = {
        "family": family, "data_version": data.version, "feature_set": data.feature_set,
        "feature_set_version": data.feature_set_version, CUT_TAG: str(data.cut),
    }  # fmt: skip
    run_id = registry.begin_run(key, tags, parent, name)
    try:
        trained = train()
        text, pictures = _upload(registry, run_id, trained, training, bucket)
        about = f"{name}: {card.in_one_line(trained.metrics, 'cross_validation')}. The model card is the description of its run."
        version = registry.register(
            run_id, {**tags, "key": key, **card.headline(trained.metrics)}, about
        )  # the registry's text is short: no place for the card
    except Exception:
        registry.end_run(run_id, failed=True)
        raise
    registry.end_run(run_id)
    return Outcome(version, False, key, trained.search.seconds, text, pictures)


def _upload(
    registry: ModelRegistry, run_id: str, trained: fit.Trained, training: TrainingSet, bucket: str
) -> tuple[str, dict[str, bytes]]:
    """Everything about the model, model last: a run that has a model has all of its papers."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        parity = fit.write_folder(root / MODEL_FOLDER, trained, training, run_id)
        text = card.model_card(trained, training, parity=parity)
        pictures = _pictures(trained, training)
        (root / PLOTS).mkdir()
        (root / CARD).write_text(text)
        for name, png in pictures.items():
            (root / PLOTS / f"{name}.png").write_bytes(png)
        trials = [
            {"number": t.number, "state": t.state.name, "objective": t.value, **t.params} for t in trained.search.trials
        ]
        (root / PLOTS / "trials.json").write_text(json.dumps(trials, indent=1))
        (root / REFERENCE).parent.mkdir()
        fit.reference(trained, training).to_parquet(root / REFERENCE, index=False)
        (root / PLOTS / "parameters.json").write_text(json.dumps(dict(trained.search.params), indent=1))
        mlmodel.describe(root / MODEL_FOLDER, read_manifest(root / MODEL_FOLDER))
        registry.log(
            run_id,
            params={**trained.search.params, "trials": len(trained.search.trials)},
            metrics={**trained.metrics, "parity": parity},
            note=text,
        )
        registry.log_data(run_id, _data_input(training, bucket))
        registry.log_trials(run_id, [_record(t) for t in trained.search.trials])
        registry.upload(run_id, root / PLOTS, PLOTS)
        registry.upload(run_id, (root / REFERENCE).parent, str(Path(REFERENCE).parent))
        registry.upload(run_id, root / MODEL_FOLDER, MODEL_FOLDER)
        registry.log_model(
            run_id, trained.family, root / MODEL_FOLDER, params=trained.search.params, metrics=trained.metrics,
            tags=card.headline(trained.metrics),
        )  # fmt: skip
    return text, pictures


def _data_input(training: TrainingSet, bucket: str) -> DataInput:
    data = training.manifest
    profile = {"rows": data.rows, "recordings": data.recordings, "groups": data.groups, **data.splits}
    return DataInput("training_set", data.version, f"s3://{bucket}/{keys.TRAINING_SET}", data.columns, profile)


def _record(trial: "FrozenTrial") -> TrialRecord:
    return TrialRecord(
        trial.number, trial.state.name, trial.value, trial.params, trial.datetime_start, trial.datetime_complete
    )


def _pictures(trained: fit.Trained, training: TrainingSet) -> dict[str, bytes]:
    shown = {"reliability": plots.reliability(trained.songs["cross_validation"], "Reliability, cross-validation")}
    if trained.search.trials:
        shown["study"] = plots.study_history([t.value for t in trained.search.trials])
    for part, evaluation in trained.evaluations.items():
        shown[f"confusion_{part}"] = plots.confusion(
            evaluation.confusion, training.manifest.genres, f"Confusion, {part}"
        )
    shares = trained.classifier.importance()
    if shares is not None:
        shown["importance"] = plots.importance(shares, training.manifest.columns)
    return shown


def _reported(registry: ModelRegistry, version: RegisteredVersion, key: str) -> Outcome:
    """A finished experiment with the card that it wrote then."""
    with tempfile.TemporaryDirectory() as temporary:
        report = registry.artifact(version.run_id, PLOTS, Path(temporary))
        text = (report / Path(CARD).name).read_text()
        pictures = {path.stem: path.read_bytes() for path in sorted(report.glob("*.png"))}
    return Outcome(version, True, key, 0.0, text, pictures)
