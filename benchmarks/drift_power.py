"""How many items it takes to see a drift: the public evaluation table, and real clips made worse in eight ways.

The first part takes windows of the reference project's own evaluation rows (table `test`, another population) against
references of its training rows. The second perturbs ten-second segments of the 40 shared clips and compares them with a
reference of all the clips' clean segments, so that nothing but the perturbation differs; a window holds each segment
once. Run: python -m benchmarks.drift_power
"""

from functools import cache

import numpy as np
import pandas as pd

from benchmarks.damage import PERTURBATIONS, Perturbation
from benchmarks.drifttools import SHARED, Floats, as_reference, columns, figure, split, table
from benchmarks.figures import Result
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.extract import FEATURE_SETS, extract
from genre_assets.genres import GENRES
from genre_assets.serving.drift import null, reference
from genre_assets.serving.drift.detection import feature_drift

RATE = 0.01
SIZES = (16, 32, 64)
SPLITS, WINDOWS = 10, 10
SECONDS = 10


@cache
def segments() -> list[tuple[str, str, int, Floats]]:
    """(genre, recording, sample rate, samples) of every ten-second segment of the shared clips."""
    found = []
    for path in sorted((SHARED / "gtzan_subset").glob("*/*")):
        clip = decode(path)
        length = SECONDS * clip.sample_rate
        starts = range(0, len(clip.samples) - length // 2, length)
        found += [(path.parent.name, path.name, clip.sample_rate, clip.samples[s : s + length]) for s in starts]
    return found


def features(perturb: Perturbation | None) -> Floats:
    """Default features of every segment, [segments, d]."""
    random = np.random.default_rng(1)
    return np.array(
        [extract(s if perturb is None else perturb(s, rate, random), rate) for _, _, rate, s in segments()], np.float32
    )


def clean_frame(values: Floats) -> pd.DataFrame:
    """The clean segments as training would store them."""
    frame = pd.DataFrame(values, columns=list(FEATURE_SETS["default"].columns))
    frame["genre"] = [genre for genre, *_ in segments()]
    frame["recording"] = [recording for _, recording, *_ in segments()]
    for genre in GENRES:
        frame[f"prob_{genre}"] = np.where(frame["genre"] == genre, np.float32(1), np.float32(0))
    return frame


def detection(base: null.Baseline, rows: Floats, items: int, windows: int, seed: int) -> list[bool]:
    """Whether each of some windows of distinct rows is called drifted."""
    random = np.random.default_rng(seed)
    picks = [random.choice(len(rows), items, replace=False) for _ in range(windows)]
    return [
        feature_drift(base, rows[pick], false_alarm_rate=RATE, seed=number).p_value <= RATE
        for number, pick in enumerate(picks)
    ]


def evaluation_rows() -> list[Result]:
    """The reference project's evaluation table against references of its training table."""
    drifted = table("test")[columns()].to_numpy(np.float32)
    results = []
    for items in SIZES:
        found = [hit for seed in range(SPLITS) for hit in detection(split(seed).base, drifted, items, WINDOWS, seed)]
        share = float(np.mean(found))
        must = items >= 32
        name = f"drift: evaluation rows detected, {items} items"
        results.append(figure(name, share, "share", bar=">= 0.95" if must else "", holds=share >= 0.95 or not must))
    return results


def unseen_genre() -> list[Result]:
    """Each genre in turn is unknown to the reference, and half of the window is of it."""
    results = []
    for items in SIZES:
        found = []
        for genre in range(len(GENRES)):
            held = split(genre)
            known = held.frame[held.frame["genre"] != GENRES[genre]]
            base = null.baseline(reference.from_frame(as_reference(known)))
            random = np.random.default_rng(genre)
            for number in range(WINDOWS // 2):
                new, old = (np.flatnonzero(mask) for mask in (held.genres == genre, held.genres != genre))
                half = min(items // 2, len(new))
                picks = np.concatenate(
                    [random.choice(new, half, replace=False), random.choice(old, items - half, replace=False)]
                )
                drift = feature_drift(base, held.rows[picks], false_alarm_rate=RATE, seed=number)
                found.append(drift.p_value <= RATE)
        name = f"drift: unseen genre in half of the window detected, {items} items"
        results.append(figure(name, float(np.mean(found)), "share"))
    return results


def run() -> list[Result]:
    """Detection rates at a stated false-alarm rate of 1 %."""
    results = [*evaluation_rows(), *unseen_genre()]
    clean = features(None)
    base = null.baseline(reference.from_frame(clean_frame(clean)))
    kinds: dict[str, Perturbation | None] = {"nothing (false alarms)": None, **PERTURBATIONS}
    for name, perturb in kinds.items():
        rows = clean if perturb is None else features(perturb)
        for items in SIZES:
            share = float(np.mean(detection(base, rows, items, 40, 7)))
            results.append(figure(f"drift: {name}, 40 clips, {items} items", share, "share"))
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
