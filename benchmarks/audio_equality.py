"""How near `gtzan37` is to librosa 0.11 and to the published tables, column by column: writes docs/features_equality.md.

The published tables were made with an older librosa (0.10.0), which is why they are reported, and not what is judged.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._audio_common import SUBSET, at_least, clips
from genre_assets.audio import equality
from genre_assets.audio.decode import decode
from genre_assets.audio.extract import FEATURE_SETS, extract

REPORT = Path(__file__).parents[1] / "docs" / "features_equality.md"
TABLE = SUBSET.parent / "gtzan_features" / "gtzan_by_track.parquet"
COLUMNS = FEATURE_SETS["gtzan37"].columns
HEAD = """# Equality of `gtzan37` with the reference

`gtzan37` must give the values that librosa 0.11 gives when it computes the 37 columns the long way
(`genre_assets/audio/equality.py` is that way). Bars: a relative error of at most 2e-4 in each column, 1e-8 absolute in the
two means of waveforms (which are rounding noise around zero), and the same tempo. The published tables were made with
librosa 0.10.0; the last two columns say how near they are.

Written by `python -m benchmarks.run audio_equality` over {count} clips of 30 s.

| column | largest relative error | largest absolute error | within the bar | published: relative | published: absolute |
|---|---|---|---|---|---|
"""


def run() -> list[dict[str, Any]]:
    """Compare every clip, write the report."""
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
    lines, equal = [], 0
    for i, column in enumerate(COLUMNS):
        pairs = zip(found[:, i].tolist(), expected_values[:, i].tolist(), strict=True)
        holds = all(equality.within_tolerance(column, value, other) for value, other in pairs)
        equal += holds
        errors = [*_errors(found[:, i], expected_values[:, i]), *_errors(found[:, i], tabled[:, i])]
        shown = [f"{error:.1e}" if np.isfinite(error) else "-" for error in errors]
        lines.append(
            f"| {column} | {shown[0]} | {shown[1]} | {'yes' if holds else '**no**'} | {shown[2]} | {shown[3]} |"
        )
    REPORT.write_text(HEAD.format(count=len(paths)) + "\n".join(lines) + "\n")
    return [at_least("columns of gtzan37 equal to librosa 0.11", equal, len(COLUMNS), "columns", __name__)]


def _errors(values: Any, others: Any) -> tuple[float, float]:
    """Largest relative and absolute error; nan where there is nothing to compare with."""
    known = np.isfinite(others)
    if not known.any():
        return float("nan"), float("nan")
    absolute = np.abs(values[known] - others[known])
    return float((absolute / np.maximum(np.abs(others[known]), 1e-30)).max()), float(absolute.max())
