"""A raw bucket of many recordings whose tables are made, without their audio: objects of a few bytes, synthetic rows.

The signatures are those of clips of 12 s that are spliced from forty songs, as the clips of `audio_scaling` are, with a
twentieth of the bits turned over: few are as hard for an index of recordings, as every part is in many clips.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from benchmarks.audio_scaling import object_store
from genre_assets import labels
from genre_assets.audio.extract import feature_set_named
from genre_assets.audio.recordings.fingerprint import recording_id
from genre_assets.audio.tables import features, inventory, listing
from genre_assets.audio.tables.rows import Rows
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

SONGS, SONG_WORDS, PARTS, PART_WORDS = 40, 645, 3, 82
TURNED = 0.05  # of the bits
SEGMENT_S, CLIP_S = 10.0, 12.0


@contextmanager
def large_bucket(count: int) -> Iterator[tuple[ObjectStore, Settings]]:
    """The bucket, ten labels of the same size, and their inventories and features. Takes the machine a minute for 100,000."""
    with object_store() as (store, settings, folder):
        for genre in GENRES:
            place = folder / settings.raw_bucket / genre
            place.mkdir(parents=True)
            for number in range(count // len(GENRES)):
                (place / f"{number:06d}.wav").write_text(f"{genre} {number}")
        labels.keep(store, settings, labels.of_names(GENRES))
        random = np.random.default_rng(1)
        songs = random.integers(0, 2**16, (SONGS, SONG_WORDS), dtype=np.uint16)
        for genre, items in listing.by_genre(store.list(settings.raw_bucket), GENRES).items():
            rows = []
            for item in items:
                fingerprint, heard = hashlib.sha256(item.key.encode()).hexdigest(), _spliced(songs, random)
                rows.append(
                    {
                        "key": item.key, "etag": item.etag, "size": item.size, "last_modified": item.last_modified,
                        "fingerprint": fingerprint, "recording": recording_id(heard, fingerprint), "duration_s": CLIP_S,
                        "sample_rate": 22050, "channels": 1, "format": "WAV", "verdict": "ok", "detail": "",
                        "signature": heard, "rules": inventory.rules_of(settings),
                    }
                )  # fmt: skip
            if genre != labels.UNKNOWN:
                files = inventory.table(rows)
                inventory.write(store, settings, genre, files)
                _write_features(store, settings, genre, files, random)
        yield store, settings


def _spliced(songs: np.ndarray, random: np.random.Generator) -> bytes:
    parts = [
        songs[song, start : start + PART_WORDS]
        for song, start in zip(
            random.integers(SONGS, size=PARTS), random.integers(SONG_WORDS - PART_WORDS, size=PARTS), strict=True
        )
    ]
    turned = np.packbits(random.random((PARTS * PART_WORDS, 16)) < TURNED, axis=1).view(np.uint16).ravel()
    return bytes((np.concatenate(parts) ^ turned).tobytes())


def _write_features(
    store: ObjectStore, settings: Settings, genre: str, files: pd.DataFrame, random: np.random.Generator
) -> None:
    columns = feature_set_named(settings.feature_set).columns
    known = {
        fingerprint: Rows(((0, 0.0, SEGMENT_S),), random.random((1, len(columns)), dtype=np.float32))
        for fingerprint in files["fingerprint"]
    }
    made = features.compose(files, genre, feature_set_named(settings.feature_set), known)
    content = inventory.usable_digest(inventory.usable(files))
    manifest = features.manifest_for(settings, genre, files, made, {}, {}, content)
    features.write(store, settings, manifest, made)
