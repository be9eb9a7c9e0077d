"""What the drift benchmarks share: the public feature tables, references and windows from them. No benchmark itself."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import figures
from benchmarks.figures import Result
from genre_assets.genres import GENRES
from genre_assets.serving.drift import null, reference
from genre_assets.serving.drift.null import Baseline

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLES = SHARED / "gtzan_features"
REFERENCE_ROWS = 1000
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """A reference and rows that it has never seen, from one population. `rows`, float32 [n, d]; `genres`, [n]."""

    base: Baseline
    frame: pd.DataFrame
    rows: Floats
    genres: NDArray[np.intp]


@cache
def table(name: str) -> pd.DataFrame:
    """One of the public tables, duplicates dropped."""
    frame = pd.read_parquet(TABLES / f"{name}.parquet")
    return frame.assign(genre=frame["genre"].astype(str)).drop_duplicates(ignore_index=True)


def columns() -> list[str]:
    """The 37 features."""
    return [name for name in table("train").columns if name != "genre"]


def split(seed: int) -> Split:
    """Training and validation rows together, cut at random: `REFERENCE_ROWS` to the reference, the others held out.

    Every row is a recording of its own, and artists stand on both sides: the question is what the test does when
    nothing but chance differs.
    """
    rows = pd.concat([table("train"), table("val")]).drop_duplicates(ignore_index=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    known, held = rows.iloc[order[:REFERENCE_ROWS]], rows.iloc[order[REFERENCE_ROWS:]]
    base = null.baseline(reference.from_frame(as_reference(known)), seed=seed)
    return Split(base, known, held[columns()].to_numpy(np.float32), held["genre"].map(GENRES.index).to_numpy(np.intp))


def as_reference(rows: pd.DataFrame) -> pd.DataFrame:
    """A feature table as training would store it; the tests of the features ask for no probabilities."""
    return rows.assign(
        recording=[str(i) for i in range(len(rows))],
        **{f"prob_{genre}": np.where(rows["genre"] == genre, np.float32(1), np.float32(0)) for genre in GENRES},
    )


def figure(name: str, value: float, unit: str, *, bar: str = "", holds: bool = True) -> Result:
    """One line of the results; without a bar there is nothing to hold."""
    return figures.figure(name, round(value, 4), unit, bar, holds)
