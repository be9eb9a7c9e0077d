"""Chooses champion and fallback among the registered models, moves the aliases, and says why.

The rules are in `select`; here they meet the registry and the stored training set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.models import evaluate, fit, select, vote
from genre_assets.models.experiment import REFERENCE, reference_of
from genre_assets.models.families import FAMILIES
from genre_assets.models.portable import MANIFEST_FILE, PortableModel, load_model
from genre_assets.models.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.robustness import Perturbed, judge, perturb_audio, perturb_features, spread_over_genres
from genre_assets.models.select import Candidate, Verdict
from genre_assets.models.split import TEST, TRAIN, VALIDATION
from genre_assets.models.training import Part, TrainingSet
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

ACTOR = "champion_models"


@dataclass(frozen=True)
class Choice:
    """What was decided for both aliases; a verdict that is not `changed` names the version that stays."""

    champion: Verdict
    fallback: Verdict


def choose(
    registry: ModelRegistry, training: TrainingSet, settings: Settings, store: ObjectStore, folder: Path
) -> Choice:
    """Decide, and move the aliases. Running it again on the same candidates changes nothing.

    `folder` is scratch space. Raises `BadInput` when no model of this training set is registered.
    """
    candidates = newest_of_each_family(registry, training.manifest.version)
    if not candidates:
        raise BadInput("no model is registered for the present training set; materialise the tuned models first")
    considered = registry.considered()
    fresh = [c for c in candidates if c.version > considered]
    election = _Election(registry, training, settings, store, folder, candidates, fresh)
    champion = election.champion()
    registry.move("champion", champion.version, actor=ACTOR, reason=champion.reason, evidence=champion.evidence)
    fallback = election.fallback()
    registry.move("fallback", fallback.version, actor=ACTOR, reason=fallback.reason, evidence=fallback.evidence)
    registry.set_considered(max(considered, *(c.version for c in candidates)))
    return Choice(champion, fallback)


def newest_of_each_family(registry: ModelRegistry, data_version: str) -> list[RegisteredVersion]:
    """The candidates: one version of each family, trained on this data."""
    newest: dict[str, RegisteredVersion] = {}
    for version in registry.versions(data_version=data_version):
        newest.setdefault(version.family, version)
    return [newest[family] for family in (*FAMILIES, vote.NAME) if family in newest]


def publish_reference(
    registry: ModelRegistry, store: ObjectStore, settings: Settings, version: int, folder: Path
) -> str:
    """Copy the version's training rows with out-of-fold answers to where drift detection reads them. Returns the key."""
    key = f"reference/version={version}/part.parquet"
    if not store.exists(settings.serving_bucket, key):
        found = registry.version(version)
        if found is None:
            raise BadInput(f"the registry has no version {version}")
        store.upload_file(
            settings.serving_bucket, key, registry.artifact(found.run_id, REFERENCE, folder / f"r{version}")
        )
    return key


def perturbed_rows(training: TrainingSet, settings: Settings, store: ObjectStore) -> Perturbed:
    """Held-out clips, perturbed; their features with noise, when the clips are not in the raw bucket."""
    from genre_assets.audio.extract import Limits

    held = training.frame[training.frame["split"] != TRAIN].drop_duplicates("key")
    labels = {key: GENRES.index(genre) for key, genre in zip(held["key"], held["genre"], strict=True)}
    clips = []
    for key in spread_over_genres(labels, settings.robustness_clips):
        try:
            clips.append((store.get_bytes(settings.raw_bucket, key), labels[key]))
        except FileNotFoundError:
            continue
    rows = perturb_audio(clips, feature_set=settings.feature_set, limits=Limits.from_settings(settings))
    if rows is not None:
        return rows
    part = training.part(VALIDATION, TEST)
    return perturb_features(part if len(part) else training.part(TRAIN), training.part(TRAIN), seed=settings.seed)


@dataclass(frozen=True)
class _Election:
    """What a choice looks at: the candidates of this training set, and which of them no choice has seen yet."""

    registry: ModelRegistry
    training: TrainingSet
    settings: Settings
    store: ObjectStore
    folder: Path
    candidates: Sequence[RegisteredVersion]
    fresh: Sequence[RegisteredVersion]

    def champion(self) -> Verdict:
        """Who is to be champion, by the rules of `select`."""
        current = self.registry.version("champion")
        scores = {c.version: c.metrics.get("cross_validation_g_mean", 0.0) for c in self.candidates}
        if current is None:
            return select.first_champion(scores)
        if not self.fresh:
            return _stays(current, "no model is new")
        known = reference_of(self.registry, current, self.folder / f"r{current.version}")
        model = self._loaded(current)
        replaced = _replaced(model, known, self.training)
        if replaced:
            return select.first_champion(scores, f"version {current.version} is replaced: {replaced}")
        held = self.training.part(VALIDATION)
        held = held.take(~np.isin(held.recordings, known["recording"]) & ~np.isin(held.groups, known["group"]))
        challengers = [c for c in self.fresh if c.version != current.version]
        if not challengers or len(np.unique(held.labels)) < 2:
            return _stays(current, "there are no held-out recordings of two genres that it does not know")
        return select.challenge(
            _candidate(current, model, held),
            [_candidate(c, self._loaded(c), held) for c in challengers],
            len(GENRES),
            margin=self.settings.gate_margin,
            recall_floor=self.settings.gate_recall_floor,
            seed=self.settings.seed,
        )

    def fallback(self) -> Verdict:
        """The most robust candidate of another family than the champion's; call it when that alias has been moved."""
        champion, current = self.registry.version("champion"), self.registry.version("fallback")
        assert champion is not None
        if current is not None and current.family != champion.family and not self.fresh:
            return _stays(current, "no model is new")
        others = {c.version: c for c in self.candidates if c.family != champion.family}
        rows = perturbed_rows(self.training, self.settings, self.store)
        judged = {version: judge(self._loaded(other), rows) for version, other in others.items()}
        robustness = {version: found.g_mean for version, found in judged.items()}
        chosen = select.choose_fallback(champion.family, robustness, {v: c.family for v, c in others.items()})
        if chosen is None:
            raise BadInput("no model of another family than the champion's to fall back on; materialise all families")
        reason = f"{others[chosen].family} bears perturbed audio best beside the champion's {champion.family}"
        evidence = {
            "perturbed_rows": len(rows.labels),
            "g_mean_under_perturbation": {str(v): round(g, 4) for v, g in robustness.items()},
            "accuracy_under": {str(v): {n: round(a, 3) for n, a in j.accuracy.items()} for v, j in judged.items()},
        }
        return Verdict(chosen, current is None or chosen != current.version, reason, evidence)

    def _loaded(self, version: RegisteredVersion) -> PortableModel:
        target = self.folder / f"v{version.version}"
        if not (target / MANIFEST_FILE).is_file():
            self.registry.download(version.version, target)
        return load_model(target)


def _stays(version: RegisteredVersion, why: str) -> Verdict:
    return Verdict(version.version, False, f"version {version.version} stays: {why}", {})


def _replaced(model: PortableModel, known: "pd.DataFrame", training: TrainingSet) -> str | None:
    """Why the champion no longer fits the data at all, if so."""
    mine, data = model.manifest, training.manifest
    if (mine.feature_set, mine.feature_set_version) != (data.feature_set, data.feature_set_version):
        wanted = f"{data.feature_set} {data.feature_set_version}"
        return f"it was trained on the features {mine.feature_set} {mine.feature_set_version}, the data has {wanted}"
    if mine.columns != data.columns or mine.labels != GENRES:
        return "its columns or labels are not those of the data"
    if not known["recording"].isin(training.frame["recording"]).any():
        return "none of the recordings that it was trained on is left"
    return None


def _candidate(version: RegisteredVersion, model: PortableModel, held: Part) -> Candidate:
    songs = fit.songs_of(held, model.probabilities(held.features))
    return Candidate(version.version, version.family, songs, evaluate.evaluate(songs, GENRES))
