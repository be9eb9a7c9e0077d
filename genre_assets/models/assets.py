"""Stage 2, features -> champion: training_set -> tuned_{xgboost,random_forest,k_neighbors} -> champion_models.

Bodies are scripts: load, one domain call, store, metadata. What a step computes lives in the other modules.
"""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from genre_assets import keys, labels
from genre_assets.audio import groups, splits
from genre_assets.audio.decoding.cut import Cut
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.checks import as_shown
from genre_assets.models.data import training, training_store
from genre_assets.models.data.split import SPLITS
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.families.classifier import Family
from genre_assets.models.mlflow.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.mlflow.tracked_run import TrackedRun
from genre_assets.models.selection import champion
from genre_assets.models.tuning import experiment, plots, vote
from genre_assets.pictures import as_markdown
from genre_assets.runs import pools
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

WHOLE_RUN = "MLflow run of this Dagster run"


@dg.asset(deps=["features"], kinds={"python", "parquet", "s3"}, code_version="2", pool=pools.BUILD)
def training_set(
    settings: dg.ResourceParam[Settings], store: dg.ResourceParam[ObjectStore]
) -> dg.MaterializeResult[None]:
    """Every segment's features with its genre, group and split: train, validation, test.

    Splits are stratified by genre and grouped by artist or album (`groups.csv`), else by recording; near-duplicates
    share a group. They follow from a hash of the group, so that new clips leave the old ones where they are, or are
    stated (`splits.csv`). Ready
    feature tables (`genre-assets ingest --table`, `GENRE_FEATURE_TABLES`) may stand in for audio, and may bring their own
    splits.
    """
    source = training_store.read_rows(store, settings)
    feature_set = FEATURE_SETS[source.feature_set]
    made = training.build(
        source.rows,
        feature_set.columns,
        feature_set=feature_set.name,
        feature_set_version=feature_set.version,
        cut=Cut.from_settings(settings),
        labels=source.labels.names,
        groups=groups.read(store, settings),
        splits=splits.read(store, settings),
        min_clips=settings.min_clips_per_genre,
    )
    training_store.write(store, settings, made)
    labels.keep_if_open(store, settings, source.labels)
    counts = training.recordings_by_genre(made)
    return dg.MaterializeResult(
        metadata={
            "result": f"{made.manifest.recordings:,} recordings in {made.manifest.groups:,} groups: "
            f"{', '.join(f'{split} {rows:,} rows' for split, rows in made.manifest.splits.items())}.",
            "rows": made.manifest.rows,
            "recordings": made.manifest.recordings,
            "groups": made.manifest.groups,
            "groups merged as near-duplicates": made.manifest.merged,
            "rows left out as copies of held-out rows": made.manifest.dropped,
            "columns": len(made.manifest.columns),
            "clips are cut": str(made.manifest.cut),
            "splits": as_shown(made.manifest.splits),
            "class balance": dg.MetadataValue.md(as_markdown("class balance", plots.class_balance(counts))),
            "recordings by genre": _genre_table(counts),
            "data": f"s3://{settings.features_bucket}/{keys.TRAINING_SET}",
        },
        data_version=dg.DataVersion(made.manifest.version),
    )


def tuned_asset(family: Family) -> dg.AssetsDefinition:
    """The asset of one family."""

    @dg.asset(
        name=f"tuned_{family.name}",
        deps=[training_set],
        kinds={"python", "mlflow", "onnx"},
        pool=pools.BUILD,
        code_version=f"{experiment.CODE_VERSION}.{family.version}",
        description=f"The best {family.name.replace('_', ' ')} that the budget finds, as a registered ONNX model.\n\n"
        "The Optuna study is kept in the database: an interrupted search goes on, a finished one is not repeated. "
        "The objective is the smoothed G-mean of grouped cross-validation over the training rows.",
    )
    def tuned(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        store: dg.ResourceParam[ObjectStore],
        registry: dg.ResourceParam[ModelRegistry],
        mlflow: dg.ResourceParam[TrackedRun],
    ) -> dg.MaterializeResult[None]:
        data = training_store.read(store, settings)
        outcome = experiment.obtain(family, data, settings, registry, mlflow.run_id)
        return _model_result(context, mlflow, family.name, outcome)

    return tuned


TUNED = [tuned_asset(family) for family in FAMILIES.values()]


@dg.asset(deps=TUNED, kinds={"python", "mlflow", "onnx"}, code_version=vote.VERSION, pool=pools.BUILD)
def voting_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    registry: dg.ResourceParam[ModelRegistry],
    mlflow: dg.ResourceParam[TrackedRun],
) -> dg.MaterializeResult[None]:
    """The mean of the families' probabilities, as one more registered ONNX model: one more candidate for champion."""
    data = training_store.read(store, settings)
    outcome = experiment.obtain_vote(data, settings, registry, mlflow.run_id)
    return _model_result(context, mlflow, vote.NAME, outcome)


@dg.asset(deps=[*TUNED, voting_model], kinds={"python", "mlflow"}, code_version="2", pool=pools.BUILD)
def champion_models(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    registry: dg.ResourceParam[ModelRegistry],
    mlflow: dg.ResourceParam[TrackedRun],
) -> dg.MaterializeResult[None]:
    """Champion and fallback, as registry aliases; every move of one is in the audit table with its reason.

    A challenger replaces the champion only if the lower bound of the interval of its gain, on recordings that neither
    was trained on, exceeds `GENRE_GATE_MARGIN`. The fallback is of another family, is better than chance on degraded
    audio by the same kind of bound, and is retrained with new data. If no model qualifies, there is no fallback, and the
    check `there_is_a_fallback` fails with the reason.
    """
    data = training_store.read(store, settings)
    with tempfile.TemporaryDirectory() as folder:
        choice = champion.choose(registry, data, settings, store, Path(folder))
        candidates = champion.newest_of_each_family(registry, data.manifest.version)
        chosen = (choice.champion.version, choice.fallback.version)
        for version in {*(v for v in chosen if v is not None), *(c.version for c in candidates)}:
            champion.publish_reference(registry, store, settings, version, Path(folder))
    context.log.info(f"champion: {choice.champion.reason}; fallback: {choice.fallback.reason}")
    versions = {alias: registry.version(alias) for alias in ("champion", "fallback")}
    described = {
        f"{alias} {name}": value
        for alias, version in versions.items()
        if version is not None
        for name, value in {
            "version": version.version,
            "family": version.family,
            **_figures(version),
            **_link("MLflow run", registry.run_link(version.run_id)),
        }.items()
    }
    return dg.MaterializeResult(
        metadata={
            "result": "; ".join(_said_of(alias, version) for alias, version in versions.items()) + ".",
            "champion changed": choice.champion.changed,
            "champion reason": choice.champion.reason,
            "champion evidence": as_shown(choice.champion.evidence),
            "fallback changed": choice.fallback.changed,
            "fallback reason": choice.fallback.reason,
            "fallback evidence": as_shown(choice.fallback.evidence),
            **described,
            **_link(WHOLE_RUN, mlflow.link),
        },
        data_version=dg.DataVersion(f"{choice.champion.version}-{choice.fallback.version or 'none'}"),
    )


def _model_result(
    context: dg.AssetExecutionContext, mlflow: TrackedRun, name: str, outcome: experiment.Outcome
) -> dg.MaterializeResult[None]:
    mlflow.show(name, outcome.version.run_id, outcome.version.version, reused=outcome.reused)
    context.log.info(f"{outcome.key}: version {outcome.version.version}{' (reused)' if outcome.reused else ''}")
    return dg.MaterializeResult(
        metadata={
            "result": f"{_said_of(outcome.version.family, outcome.version)}, "
            f"{'as it was: the data have not changed' if outcome.reused else 'tuned and registered in this run'}.",
            "version": outcome.version.version,
            "reused": outcome.reused,
            "tuning seconds": round(outcome.seconds, 1),
            **_figures(outcome.version),
            "model card": dg.MetadataValue.md(outcome.card),
            **{n: dg.MetadataValue.md(as_markdown(n, png)) for n, png in sorted(outcome.pictures.items())},
            **_link("MLflow run", mlflow.registry.run_link(outcome.version.run_id)),
            **_link(WHOLE_RUN, mlflow.link),
        },
        data_version=dg.DataVersion(outcome.version.run_id),
    )


def _said_of(name: str, version: RegisteredVersion | None) -> str:
    """A model in words: `Champion: linear version 2, balanced accuracy 0.67 [0.48, 0.84] on the test recordings`."""
    name = name.replace("_", " ").capitalize()
    if version is None:
        return f"{name}: none"
    said = f"{name}: {version.family.replace('_', ' ')} version {version.version}"
    for part, where in (("test", "on the test recordings"), ("cross_validation", "in cross-validation")):
        known = f"{part}_balanced_accuracy"
        if known in version.metrics:  # of few recordings none may be left for the test
            middle, low, high = (version.metrics[f"{known}{end}"] for end in ("", "_low", "_high"))
            return f"{said}, balanced accuracy {middle:.2f} [{low:.2f}, {high:.2f}] {where}"
    return said


def _figures(version: RegisteredVersion) -> dict[str, Any]:
    """What each part says, with intervals; the values alone too, so that Dagster charts them over time."""
    shown: dict[str, Any] = {}
    for part in ("cross_validation", "validation", "test"):
        for metric in ("objective", "g_mean", "balanced_accuracy"):
            name = f"{part}_{metric}"
            if name in version.metrics:
                low, high = version.metrics[f"{name}_low"], version.metrics[f"{name}_high"]
                shown[f"{metric}, {part}"] = float(version.metrics[name])
                shown[f"{metric}, {part}, 95 % interval"] = f"[{low:.3f}, {high:.3f}]"
    return shown


def _link(name: str, address: str | None) -> dict[str, Any]:
    return {name: dg.MetadataValue.url(address)} if address else {}


def _genre_table(counts: dict[str, dict[str, int]]) -> dg.TableMetadataValue:
    genres = sorted({genre for of_split in counts.values() for genre in of_split})
    records = [
        dg.TableRecord({"genre": genre, **{split: counts.get(split, {}).get(genre, 0) for split in SPLITS}})
        for genre in genres
    ]
    columns = [dg.TableColumn("genre"), *(dg.TableColumn(split, "int") for split in SPLITS)]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


ASSETS: list[dg.AssetsDefinition] = [training_set, *TUNED, voting_model, champion_models]
