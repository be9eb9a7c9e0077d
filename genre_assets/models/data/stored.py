"""Reads and writes the training set in the object store, and reads what it is made from."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.tables import features
from genre_assets.errors import BadInput
from genre_assets.models.data.training import Manifest, TrainingSet, content_hash
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd


def read_features(store: ObjectStore, settings: Settings) -> "pd.DataFrame":
    """Every partition of the configured feature set, joined. Raises `BadInput` when there is none."""
    import pandas as pd

    prefix = keys.features_of(settings.feature_set)
    tables = [o.key for o in store.list(settings.features_bucket, prefix) if o.key.endswith(".parquet")]
    frames = [store.read_parquet(settings.features_bucket, key) for key in tables]
    frames = [f for f in frames if len(f)]
    if not frames:
        raise BadInput(
            f"there are no features under s3://{settings.features_bucket}/{prefix}: put audio into "
            f"s3://{settings.raw_bucket}/<genre>/ (genre-assets ingest DIR) and materialise raw_audio and features"
        )
    _check_versions(store, settings, tables)
    return pd.concat(frames, ignore_index=True)


def write(store: ObjectStore, settings: Settings, training: TrainingSet) -> None:
    """Rows first, manifest last: a manifest never names rows that are not there."""
    store.write_parquet(settings.features_bucket, keys.TRAINING_SET, training.frame)
    store.write_json(settings.features_bucket, keys.TRAINING_SET_MANIFEST, training.manifest.to_json())


def read(store: ObjectStore, settings: Settings) -> TrainingSet:
    """The stored training set, checked against its manifest. Raises `BadInput` when it is missing or half written."""
    try:
        manifest = Manifest.from_json(store.read_json(settings.features_bucket, keys.TRAINING_SET_MANIFEST))
        frame = store.read_parquet(settings.features_bucket, keys.TRAINING_SET)
    except FileNotFoundError as error:
        raise BadInput(f"there is no training set ({error}); materialise training_set first") from error
    found = content_hash(frame, manifest.feature_set, manifest.feature_set_version, manifest.cut)
    if found != manifest.version:
        raise BadInput(
            f"the stored training set has version {found}, its manifest says {manifest.version}: it was changed or "
            "half written; materialise training_set again"
        )
    return TrainingSet(frame, manifest)


@dataclass(frozen=True)
class Stored:
    """What a cheap look at the store shows: when the training set was made, and a digest of all that it depends on."""

    made_at: float | None
    digest: str


def look(store: ObjectStore, settings: Settings) -> Stored:
    """List (not read) the features and the training set: the digest changes when either does."""
    tables = [f"{o.key} {o.etag}" for o in store.list(settings.features_bucket, keys.features_of(settings.feature_set))]
    made = {o.key: o for o in store.list(settings.features_bucket, keys.TRAINING_SET_MANIFEST)}
    manifest = made.get(keys.TRAINING_SET_MANIFEST)
    digest = hashlib.sha256("\n".join([*tables, manifest.etag if manifest else ""]).encode()).hexdigest()
    return Stored(manifest.last_modified.timestamp() if manifest else None, digest)


def new_recordings(store: ObjectStore, settings: Settings) -> int | None:
    """How many recordings have features but are not in the stored training set; None before the first one."""
    try:
        known = store.read_parquet(settings.features_bucket, keys.TRAINING_SET)["recording"]
    except FileNotFoundError:
        return None
    return len(set(read_features(store, settings)["recording"]) - set(known))


def _check_versions(store: ObjectStore, settings: Settings, keys: "list[str]") -> None:
    """Tables of an older extractor, or cut otherwise, must not be mixed with, or taken for, those of the present one."""
    cut = features.cut(settings)
    present = FEATURE_SETS[settings.feature_set].version
    for key in keys:
        try:
            manifest = store.read_json(settings.features_bucket, key.replace("part.parquet", "manifest.json"))
        except FileNotFoundError:
            continue
        if manifest["feature_set_version"] != present:
            raise BadInput(
                f"{key} holds {settings.feature_set} version {manifest['feature_set_version']}, the extractor makes "
                f"version {present}; materialise features again for all genres"
            )
        if manifest.get("cut", cut) != cut:
            raise BadInput(
                f"{key} holds rows cut from {manifest['cut']}, the settings say {cut}; materialise features again for all "
                "genres"
            )
