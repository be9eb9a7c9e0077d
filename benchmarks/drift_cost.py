"""What a window costs, beside the way it was first done, and what Evidently's defaults say of the same windows.

The first way drew all resamples for every window, and found each genre mix by two hundred steps of descent.

CPU seconds of this process, one thread, after warm-up: cutting aside, everything that a verdict takes. Evidently's
columns count as drifted by its own defaults, and its dataset drifts when half of them do.
Run: python -m benchmarks.drift_cost
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.drifttools import columns, figure, split, table
from benchmarks.figures import Result
from genre_assets.serving.drift import mix, null, reference, stages
from genre_assets.serving.drift.detection import FeatureDrift, feature_drift
from genre_assets_tests.serving.drift.data import reference_frame

ITEMS = 128
REPEATS = 10
EVIDENTLY_WINDOWS = 30
DECISIONS = 200


def cpu_ms(action: Callable[[int], object], repeats: int = REPEATS) -> float:
    """Median CPU milliseconds of a call, after one that warms up."""
    action(0)
    times = []
    for number in range(1, repeats + 1):
        began = time.process_time()
        action(number)
        times.append(time.process_time() - began)
    return float(np.median(times)) * 1000


@contextmanager
def first_way() -> Iterator[None]:
    """As the first version did it: all resamples, and descent."""
    with (
        mock.patch.object(stages, "stages", return_value=()),
        mock.patch.object(mix, "nearest", lambda gram, target: mix._descend(gram, target).astype(np.float32)),
    ):
        yield


def shares_of_the_first(base: null.Baseline, window: np.ndarray) -> float:
    """CPU of a window / CPU of it in the first way; the two alternate, so that both meet the same machine."""
    found = []
    for seed in range(REPEATS):
        verdict = partial(_verdict, base, window, seed)
        ours = cpu_ms(verdict, 1)
        with first_way():
            found.append(ours / cpu_ms(verdict, 1))
    return float(np.median(found))


def _verdict(base: null.Baseline, window: np.ndarray, seed: int, number: int) -> FeatureDrift:
    return feature_drift(base, window, seed=seed + number)


def differing(windows: int) -> int:
    """In how many windows of all sizes, undrifted to drifted, the level is not that of the first way."""
    held, random = split(0), np.random.default_rng(1)
    found = 0
    for number in range(windows):
        items = (16, 32, 64, ITEMS)[number % 4]
        rows = held.rows[random.choice(len(held.rows), items, replace=False)] * np.float32(1 + 0.02 * (number % 5))
        ours = feature_drift(held.base, rows, seed=number).level
        with first_way():
            found += feature_drift(held.base, rows, seed=number).level is not ours
    return found


def wide(d: int = 154, rows: int = 1000) -> tuple[null.Baseline, np.ndarray]:
    """A reference and a window as wide as the default feature set, of synthetic genres."""
    frame = reference_frame(rows, 1)
    narrow = [name for name in frame.columns if name.startswith("f")]
    random = np.random.default_rng(3)
    mixing = random.normal(size=(len(narrow), d)).astype(np.float32)
    values = frame[narrow].to_numpy() @ mixing + random.normal(size=(rows, d)).astype(np.float32)
    features = pd.DataFrame(values, columns=[f"f{i}" for i in range(d)])
    found = reference.from_frame(pd.concat([frame.drop(columns=narrow), features], axis=1))
    return null.baseline(found), values[random.choice(rows, ITEMS, replace=False)].astype(np.float32)


def evidently_share(normal: pd.DataFrame, window: pd.DataFrame) -> float:
    """Share of drifted columns by Evidently's cheapest metric and its default tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Dataset, Report
        from evidently.metrics import DriftedColumnsCount

        report = Report([DriftedColumnsCount()])
        snapshot = report.run(Dataset.from_pandas(window), Dataset.from_pandas(normal))
        (metric,) = snapshot.dict()["metrics"]
    return float(metric["value"]["share"])


def run() -> list[Result]:
    """Cost of a window beside Evidently's, and how often Evidently's defaults alarm; on one thread, as a run has it."""
    with threadpool_limits(1):
        return _figures()


def _figures() -> list[Result]:
    held = split(0)
    random = np.random.default_rng(0)
    window = held.rows[random.choice(len(held.rows), ITEMS, replace=False)]
    held.base.resampled_products  # noqa: B018  # made once for all windows of a run
    narrow = cpu_ms(lambda seed: feature_drift(held.base, window, seed=seed))
    base, broad = wide()
    broad_ms = cpu_ms(lambda seed: feature_drift(base, broad, seed=seed))
    normal = held.frame[columns()].astype(float)
    frame = pd.DataFrame(window, columns=columns()).astype(float)
    drifted_ms = cpu_ms(lambda seed: feature_drift(held.base, window * np.float32(1.3), seed=seed))
    few, many = shares_of_the_first(held.base, window), shares_of_the_first(base, broad)
    other = differing(DECISIONS)
    evidently_ms = cpu_ms(lambda _: evidently_share(normal, frame), 5)
    results = [
        figure(f"drift: CPU of a window of {ITEMS} items, 37 features", narrow, "ms", bar="<= 150", holds=narrow <= 150),
        figure(f"drift: CPU of a window of {ITEMS} items, 154 features", broad_ms, "ms", bar="<= 150", holds=broad_ms <= 150),
        figure(f"drift: CPU of a drifted window of {ITEMS} items, 37 features", drifted_ms, "ms"),
        figure(f"drift: CPU of a window of {ITEMS} items / the first way, 37 features", few, "ratio", bar="<= 0.33", holds=few <= 0.33),
        figure(f"drift: CPU of a window of {ITEMS} items / the first way, 154 features", many, "ratio", bar="<= 0.33", holds=many <= 0.33),
        figure(f"drift: windows of {DECISIONS} with another level than in the first way", other, "windows", bar="<= 0", holds=other == 0),
        figure("drift: CPU of Evidently's drifted-columns count, 37 features", evidently_ms, "ms"),
        figure("drift: Evidently's CPU / ours, 37 features", evidently_ms / narrow, "ratio", bar="> 1", holds=evidently_ms > narrow),
    ]  # fmt: skip
    more = pd.concat([normal, normal.iloc[:1]], ignore_index=True)  # 1,001 rows: another default test
    drifted = table("test")[columns()].astype(float)
    for items in (16, 32, 128):
        picks = [random.choice(len(held.rows), items, replace=False) for _ in range(EVIDENTLY_WINDOWS)]
        clean = [pd.DataFrame(held.rows[pick], columns=columns()).astype(float) for pick in picks]
        for name, known in (("1,000", normal), ("1,001", more)):
            share = np.mean([evidently_share(known, w) >= 0.5 for w in clean])
            label = f"drift: Evidently's defaults, false alarms, {items} items, reference of {name} rows"
            results.append(figure(label, float(share), "share"))
        if items <= len(drifted):
            found = [
                evidently_share(normal, drifted.sample(items, random_state=n)) >= 0.5 for n in range(EVIDENTLY_WINDOWS)
            ]
            results.append(
                figure(
                    f"drift: Evidently's defaults, evaluation rows detected, {items} items",
                    float(np.mean(found)),
                    "share",
                )
            )
    return results


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
