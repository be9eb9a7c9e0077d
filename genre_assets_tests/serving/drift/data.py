"""Synthetic training rows and log rows for the tests of drift: genres are clusters, recordings are clusters in them."""

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from genre_assets.genres import GENRES
from genre_assets.inference.request_log import Row

COLUMNS = tuple(f"f{i}" for i in range(12))
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
CENTRES = np.random.default_rng(7).normal(0, 1.5, (len(GENRES), len(COLUMNS)))


def features(n: int, rng: np.random.Generator, genres: np.ndarray | None = None, recordings: int = 1) -> np.ndarray:
    """Rows of the given genres (all, if not given), [n * recordings, 12]; skewed, as audio features are."""
    genres = rng.integers(0, len(GENRES), n) if genres is None else genres
    songs = CENTRES[genres] + rng.normal(0, 0.7, (n, len(COLUMNS)))
    rows = np.repeat(songs, recordings, axis=0) + rng.normal(0, 0.5, (n * recordings, len(COLUMNS)))
    return np.exp(rows / 3).astype(np.float32)


def reference_frame(recordings: int = 200, segments: int = 3, seed: int = 1) -> pd.DataFrame:
    """A table as training writes it."""
    rng = np.random.default_rng(seed)
    genres = np.arange(recordings) % len(GENRES)
    frame = pd.DataFrame(features(recordings, rng, genres, segments), columns=list(COLUMNS))
    frame["genre"] = [GENRES[g] for g in np.repeat(genres, segments)]
    frame["predicted"] = frame["genre"]
    frame["recording"] = [f"r{i}" for i in np.repeat(np.arange(recordings), segments)]
    for index, genre in enumerate(GENRES):
        frame[f"prob_{genre}"] = np.where(np.repeat(genres, segments) == index, 0.7, 0.3 / 9).astype(np.float32)
    return frame


def log_rows(
    n: int,
    *,
    start: datetime = START,
    seed: int = 0,
    shift: float = 0.0,
    route: str = "champion",
    version: int = 1,
    error_code: str | None = None,
    names: list[str] | None = None,
) -> list[Row]:
    """n answered items, a tenth of a second apart; `shift` moves every feature."""
    rng = np.random.default_rng(seed)
    genres = rng.integers(0, len(GENRES), n)
    values = features(n, rng, genres) * np.float32(np.exp(shift))
    probabilities = np.where(np.eye(len(GENRES))[genres] == 1, 0.7, 0.3 / 9)
    return [
        Row(
            id=str(uuid.UUID(int=(int(rng.integers(0, 2**62)) << 64) | i)),
            ts=(start + timedelta(seconds=0.1 * i)).timestamp(),
            request_id=f"q{seed}-{i}",
            item=0,
            fingerprint=names[i] if names else f"file-{seed}-{i}",
            model="xgboost",
            version=version,
            route=route,
            label=None if error_code else GENRES[genres[i]],
            confidence=None if error_code else 0.7,
            probabilities=None if error_code else [float(p) for p in probabilities[i]],
            features=None if error_code else [float(v) for v in values[i]],
            feature_set="default",
            feature_set_version="1",
            error_code=error_code,
            error="cannot decode" if error_code else None,
            decode_ms=3.0,
            extract_ms=20.0,
            predict_ms=1.0,
        )
        for i in range(n)
    ]
