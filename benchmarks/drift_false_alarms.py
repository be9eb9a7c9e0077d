"""How often undrifted windows raise an alarm, beside Evidently's defaults on the same windows.

2,400 windows of held-out rows of the public GTZAN feature tables, four sizes, and single-genre windows; 60 splits, so
that neither the reference nor the windows are few. Run: python -m benchmarks.drift_false_alarms
"""

import numpy as np

from benchmarks.drifttools import Split, figure, split
from benchmarks.figures import Result
from genre_assets.genres import GENRES
from genre_assets.serving.drift.detection import feature_drift

RATE = 0.01
BAR = 0.015
SPLITS = 60
SIZES = (16, 32, 64, 128)
WINDOWS = 10  # of each size in each split


def mixed(held: Split, items: int, random: np.random.Generator) -> np.ndarray:
    """A window of held-out rows of any genre."""
    return held.rows[random.choice(len(held.rows), items, replace=False)]


def single(held: Split, items: int, genre: int, random: np.random.Generator) -> np.ndarray | None:
    """A window of one genre; None if it has too few held-out rows."""
    members = np.flatnonzero(held.genres == genre)
    return None if len(members) < items else held.rows[random.choice(members, items, replace=False)]


def run() -> list[Result]:
    """Shares of alarms at a stated rate of 1 %."""
    alarms: dict[str, list[bool]] = {}
    for seed in range(SPLITS):
        held, random = split(seed), np.random.default_rng(seed)
        for items in SIZES:
            for number in range(WINDOWS):
                window = mixed(held, items, random)
                p_value = feature_drift(held.base, window, false_alarm_rate=RATE, seed=number).p_value
                alarms.setdefault(f"{items} items", []).append(p_value <= RATE)
        for items in (16, 32):
            for genre in range(len(GENRES)):
                one = single(held, items, genre, random)
                if one is not None:
                    p_value = feature_drift(held.base, one, false_alarm_rate=RATE, seed=genre).p_value
                    alarms.setdefault(f"{items} items of one genre", []).append(p_value <= RATE)
    results = []
    for kind in ("items", "items of one genre"):
        groups = {name: found for name, found in alarms.items() if name.endswith(kind)}
        every = [alarm for found in groups.values() for alarm in found]
        share = float(np.mean(every))
        name = f"drift: false alarms, all {len(every)} windows of {kind}"
        results.append(figure(name, share, "share", bar=f"<= {BAR}", holds=share <= BAR))
        results += [
            figure(f"drift: false alarms, {len(found)} windows of {name}", float(np.mean(found)), "share")
            for name, found in groups.items()
        ]
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
