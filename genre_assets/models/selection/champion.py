"""Chooses champion and fallback among the registered models, moves the aliases, and says why.

The rules are in `select`; here they meet the registry and the stored training set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genre_assets import keys
from genre_assets.errors import BadInput
from genre_assets.models.data.split import TEST, TRAIN, VALIDATION
from genre_assets.models.data.training import Part, TrainingSet
from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.onnx.portable import MANIFEST_FILE, ModelManifest, PortableModel, load_model
from genre_assets.models.selection import fallback as fallbacks
from genre_assets.models.selection import select
from genre_assets.models.selection.fallback import Heard, objection, objection_to
from genre_assets.models.selection.recut import limits_of, recut
from genre_assets.models.selection.robustness import (
    Perturbed,
    perturb_audio,
    perturb_features,
    robustness_of,
    spread_over_genres,
)
from genre_assets.models.selection.select import Candidate, ChampionChoice, FallbackChoice
from genre_assets.models.tuning import evaluate, fit, vote
from genre_assets.models.tuning.experiment import REFERENCE, reference_of
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

ACTOR = "champion_models"


@dataclass(frozen=True)
class Choice:
    """What was decided for both aliases; a verdict that is not `changed` names the version that stays."""

    champion: ChampionChoice
    fallback: FallbackChoice


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
    if fallback.version is None:
        registry.clear("fallback", actor=ACTOR, reason=fallback.reason, evidence=fallback.evidence)
    else:
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
    key = keys.reference(version)
    if not store.exists(settings.serving_bucket, key):
        found = registry.version(version)
        if found is None:
            raise BadInput(f"the registry has no version {version}")
        store.upload_file(
            settings.serving_bucket, key, registry.artifact(found.run_id, REFERENCE, folder / f"r{version}")
        )
    return key


def perturbed_rows(training: TrainingSet, manifest: ModelManifest, settings: Settings, store: ObjectStore) -> Perturbed:
    """Held-out clips, perturbed, as a model of this manifest wants them cut; features with noise, without the clips."""
    held = training.frame[training.frame["split"] != TRAIN].drop_duplicates("key")
    labels = dict(zip(held["key"], training.index(held["genre"]).tolist(), strict=True))
    groups = dict(zip(held["key"], held["group"], strict=True))
    clips = []
    for key in spread_over_genres(labels, settings.robustness_clips):
        try:
            clips.append((store.get_bytes(settings.raw_bucket, key), labels[key], groups[key]))
        except FileNotFoundError:
            continue
    rows = perturb_audio(clips, feature_set=manifest.feature_set, limits=limits_of(manifest, settings))
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

    def champion(self) -> ChampionChoice:
        """Who is to be champion, by the rules of `select`."""
        current = self.registry.version("champion")
        scores = {c.version: _cross_validation(c) for c in self.candidates}
        if current is None:
            return select.first_champion(scores)
        known = reference_of(self.registry, current, self.folder / f"r{current.version}")
        model = self._loaded(current)
        # Before the question whether a model is new: who goes back to an earlier feature set has none that is.
        replaced = _replaced(model, known, self.training)
        if replaced:
            return select.first_champion(scores, f"version {current.version} is replaced: {replaced}", current.version)
        if not self.fresh:
            return _stays(current, "no model is new")
        held = self.training.part(VALIDATION)
        held = held.take(~np.isin(held.recordings, known["recording"]) & ~np.isin(held.groups, known["group"]))
        challengers = [c for c in self.fresh if c.version != current.version]
        if not challengers or len(np.unique(held.labels)) < 2:
            return _stays(current, "there are no held-out recordings of two genres that it does not know")
        own = held
        if model.manifest.cut != self.training.manifest.cut:
            try:
                own = recut(self.training, set(held.recordings), model.manifest, self.settings, self.store)
            except BadInput as problem:
                why = f"its clips were cut otherwise ({model.manifest.cut}) than the data's, and {problem}"
                return select.first_champion(scores, f"version {current.version} is replaced: {why}", current.version)
            held = held.take(np.isin(held.recordings, own.recordings))
        return select.challenge(
            _candidate(current, model, own),
            [_candidate(c, self._loaded(c), held) for c in challengers],
            len(self.training.manifest.genres),
            margin=self.settings.gate_margin,
            recall_floor=self.settings.gate_recall_floor,
            seed=self.settings.seed,
        )

    def fallback(self) -> FallbackChoice:
        """The most robust candidate that may stand in for the champion; call it when that alias has been moved."""
        champion, current = self.registry.version("champion"), self.registry.version("fallback")
        assert champion is not None
        floor, crown = self.settings.fallback_floor, self._loaded(champion).manifest
        fits = current is not None and not self._loaded(current).manifest.differs(crown)
        if current is not None and fits and not self.fresh and objection_to(current, champion, floor) is None:
            return FallbackChoice(current.version, False, f"version {current.version} stays: no model is new")
        # Beside a champion that stays on its own cuts, only models of the same cuts can stand.
        same = crown.cut == self.training.manifest.cut
        pool = self.candidates if same else newest_of_each_family(self.registry, champion.data_version)
        tried = {c.version: c for c in pool if not self._loaded(c).manifest.differs(crown)}
        rows = perturbed_rows(self._unknown_to(champion), crown, self.settings, self.store)
        evaluated = {version: robustness_of(self._loaded(one), rows) for version, one in tried.items()}
        heard = {version: Heard.of(found) for version, found in evaluated.items()}
        for version, found in heard.items():
            self.registry.tag(tried[version], fallbacks.TAG, found.to_tag())
        families = {version: one.family for version, one in tried.items()}
        objections = {v: objection(f, champion.family, heard[v], floor) for v, f in families.items()}
        evidence = {"perturbed_rows": len(rows.labels), "floor": floor, **fallbacks.evidence(families, evaluated)}
        chosen = select.choose_fallback(objections, {v: found.objective for v, found in evaluated.items()})
        if chosen is None:
            others = {v: why for v, why in objections.items() if v != champion.version}
            said = "; ".join(f"version {v} ({families[v]}): {why}" for v, why in others.items())
            reason = f"no model may stand in for the champion: {said or 'there is no other model'}"
            return FallbackChoice(None, current is not None, reason, evidence)
        reason = (
            f"{families[chosen]} v{chosen} is the best on degraded audio among families other than the champion's "
            f"({champion.family}): {heard[chosen]}"
        )
        return FallbackChoice(chosen, current is None or chosen != current.version, reason, evidence)

    def _unknown_to(self, version: RegisteredVersion) -> TrainingSet:
        """The training set without held-out rows that a model of older data was trained on."""
        if version.data_version == self.training.manifest.version:
            return self.training
        known = reference_of(self.registry, version, self.folder / f"r{version.version}")
        frame = self.training.frame
        heard = (frame["split"] != TRAIN) & (
            frame["recording"].isin(known["recording"]) | frame["group"].isin(known["group"])
        )
        return TrainingSet(frame[~heard], self.training.manifest)

    def _loaded(self, version: RegisteredVersion) -> PortableModel:
        target = self.folder / f"v{version.version}"
        if not (target / MANIFEST_FILE).is_file():
            self.registry.download(version.version, target)
        return load_model(target)


def _cross_validation(version: RegisteredVersion) -> dict[str, float]:
    figures = {name: f"cross_validation_{name}" for name in ("objective", "g_mean", "balanced_accuracy")}
    return {name: version.metrics[metric] for name, metric in figures.items() if metric in version.metrics}


def _stays(version: RegisteredVersion, why: str) -> ChampionChoice:
    return ChampionChoice(version.version, False, f"version {version.version} stays: {why}", {})


def _replaced(model: PortableModel, known: "pd.DataFrame", training: TrainingSet) -> str | None:
    """Why the champion no longer fits the data at all, if so."""
    mine, data = model.manifest, training.manifest
    if (mine.feature_set, mine.feature_set_version) != (data.feature_set, data.feature_set_version):
        wanted = f"{data.feature_set} {data.feature_set_version}"
        return f"it was trained on the features {mine.feature_set} {mine.feature_set_version}, the data has {wanted}"
    if mine.cut is None:
        return "it does not say how its clips were cut: it is of an older release of the platform"
    if mine.columns != data.columns or mine.labels != data.genres:
        return "its columns or labels are not those of the data"
    if not known["recording"].isin(training.frame["recording"]).any():
        return "none of the recordings that it was trained on is left"
    return None


def _candidate(version: RegisteredVersion, model: PortableModel, held: Part) -> Candidate:
    songs = fit.songs_of(held, model.probabilities(held.features))
    return Candidate(version.version, version.family, songs, evaluate.evaluate(songs, model.manifest.labels))
