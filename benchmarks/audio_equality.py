"""How near `gtzan37` is to librosa 0.11 and to the published tables.

The published tables were made with an older librosa (0.10.0), which is why they are reported, and not what is judged.
"""

from typing import Any

import numpy as np
import pandas as pd

from benchmarks._audio_common import SUBSET, at_least, at_most, clips, row
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.extract import FEATURE_SETS, extract
from genre_assets.audio.feature_sets import equality

TABLE = SUBSET.parent / "gtzan_features" / "gtzan_by_track.parquet"
COLUMNS = FEATURE_SETS["gtzan37"].columns
RELATIVE, ABSOLUTE = "largest relative error of the others", "largest absolute error of the two means of waveforms"
MEANS = [COLUMNS.index(column) for column in sorted(equality.DC_COLUMNS)]
OTHERS = [i for i in range(len(COLUMNS)) if i not in MEANS]


def run() -> list[dict[str, Any]]:
    """Compare every clip."""
    paths = clips()
    published = pd.read_parquet(TABLE).set_index("track_id") if TABLE.exists() else pd.DataFrame()
    ours, theirs, tables = [], [], []
    for path in paths:
        clip = decode(path)
        ours.append(extract(clip.samples, clip.sample_rate, feature_set="gtzan37").astype(np.float64))
        expected = equality.by_librosa(clip.samples, clip.sample_rate)
        theirs.append([expected[column] for column in COLUMNS])
        known = path.stem in published.index
        tables.append(
            published.loc[path.stem, list(COLUMNS)].to_numpy(float) if known else np.full(len(COLUMNS), np.nan)
        )
    found, expected_values, tabled = np.array(ours), np.array(theirs), np.array(tables, dtype=float)
    pairs = zip(found.T.tolist(), expected_values.T.tolist(), COLUMNS, strict=True)
    equal = sum(
        all(equality.within_tolerance(column, value, other) for value, other in zip(values, others, strict=True))
        for values, others, column in pairs
    )
    rows = [
        at_least("columns of gtzan37 equal to librosa 0.11", equal, len(COLUMNS), "columns", __name__),
        row("gtzan37 / librosa 0.11, clips compared", len(paths), "clips", __name__),
    ]
    for name, others, judged in (("librosa 0.11", expected_values, True), ("the published tables", tabled, False)):
        if np.isfinite(others).any():
            relative, absolute = (
                _errors(found[:, OTHERS], others[:, OTHERS])[0],
                _errors(found[:, MEANS], others[:, MEANS])[1],
            )
            for text, error, bar in (
                (RELATIVE, relative, equality.RELATIVE),
                (ABSOLUTE, absolute, equality.DC_ABSOLUTE),
            ):
                figure = f"gtzan37 / {name}, {text}"
                rows.append(at_most(figure, error, bar, "", __name__) if judged else row(figure, error, "", __name__))
    return rows


def _errors(values: Any, others: Any) -> tuple[float, float]:
    """Largest relative and absolute error; nan where there is nothing to compare with."""
    known = np.isfinite(others)
    if not known.any():
        return float("nan"), float("nan")
    absolute = np.abs(values[known] - others[known])
    return float((absolute / np.maximum(np.abs(others[known]), 1e-30)).max()), float(absolute.max())
