"""Reads and writes the training set in the object store, and reads what it is made from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genre_assets import keys, labels
from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.tables import features
from genre_assets.errors import BadInput
from genre_assets.models.data import ready, tables
from genre_assets.models.data.training import Manifest, TrainingSet, content_hash
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

    from genre_assets.labels import LabelSet


@dataclass(frozen=True)
class Source:
    """The rows that a training set is made from, the feature set of their columns, and the label set that they are of."""

    rows: "pd.DataFrame"
    feature_set: str
    labels: "LabelSet"


def read_rows(store: ObjectStore, settings: Settings) -> Source:
    """The rows for a training set: of ready tables that a setting names, else of those in the bucket, else the features.

    While the label set is open, the labels of ready tables are it. Raises `BadInput`; see `read_features`, `read_tables`.
    """
    found = ready.find(store, settings)
    if not settings.feature_tables and found is None:
        label_set = labels.read(store, settings)
        return Source(read_features(store, settings, label_set.names), settings.feature_set, label_set)
    kept = labels.read_kept(store, settings)
    if settings.feature_tables or found is None:
        name: str = settings.feature_set
        rows = tables.read_tables(settings.feature_tables, FEATURE_SETS[name].columns, kept, store)
    else:
        name, rows = found.feature_set, ready.read(store, settings, found, kept)
    return Source(rows, name, kept or labels.of_names(sorted(set(rows["genre"]))))


def read_features(store: ObjectStore, settings: Settings, genres: Sequence[str]) -> "pd.DataFrame":
    """The tables of these genres in the configured feature set, joined. Raises `BadInput` when there is none."""
    import pandas as pd

    prefix = keys.features_of(settings.feature_set)
    wanted = {keys.features(settings.feature_set, genre): genre for genre in genres}
    there = {keys.table_of(entry.key) for entry in store.list(settings.features_bucket, prefix)}
    tables = [key for key in sorted(wanted) if key in there]
    frames = [features.read(store, settings, wanted[key]) for key in tables]
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
    """List (not read) the features and the training set: the digest changes when either, or the label set, does."""
    tables = [f"{o.key} {o.etag}" for o in store.list(settings.features_bucket, keys.features_of(settings.feature_set))]
    tables += [f"{o.key} {o.etag}" for o in store.list(settings.features_bucket, keys.READY_TABLES)]
    made = {o.key: o for o in store.list(settings.features_bucket, keys.TRAINING_SET_MANIFEST)}
    manifest = made.get(keys.TRAINING_SET_MANIFEST)
    digest = hashlib.sha256(
        "\n".join([*tables, manifest.etag if manifest else "", *labels.names(store, settings)]).encode()
    ).hexdigest()
    return Stored(manifest.last_modified.timestamp() if manifest else None, digest)


@dataclass(frozen=True)
class News:
    """What is there and not in the stored training set: recordings; labels that could be learned, and labels that went.

    `of_clients` counts those of the recordings that are labelled clips of clients.
    """

    recordings: int = 0
    labels: Sequence[str] = field(default_factory=list)
    removed: Sequence[str] = field(default_factory=list)
    of_clients: int = 0


def news(store: ObjectStore, settings: Settings) -> News:
    """What a new training set would have that the stored one has not; nothing before the first one."""
    try:
        known = store.read_parquet(settings.features_bucket, keys.TRAINING_SET)[["recording", "genre"]]
    except FileNotFoundError:
        return News()
    names = labels.names(store, settings)
    removed = sorted(set(known["genre"]) - set(names))
    if settings.feature_tables or ready.find(store, settings) is not None:
        return News(removed=removed)
    rows = read_features(store, settings, names)
    recordings = rows.groupby("genre")["recording"].nunique()
    enough = [name for name in names if recordings.get(name, 0) >= settings.min_clips_per_genre]
    new = [name for name in enough if name not in set(known["genre"])]
    unknown = rows[~rows["recording"].isin(set(known["recording"]))]
    of_clients = unknown[unknown["key"].map(keys.is_client_clip).astype(bool)]["recording"].nunique()
    return News(unknown["recording"].nunique(), new, removed, int(of_clients))


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
