"""Which rows train, which are held out, and the proof that nothing stands on both sides. Pure functions.

The unit is the *group*: an artist or an album where one is known, else the recording. Its place is decided by a hash
of its name, so that adding clips leaves nearly every earlier group where it was, on every machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio import splits as stated_splits

if TYPE_CHECKING:
    import pandas as pd

SPLITS = stated_splits.SPLITS
TRAIN, VALIDATION, TEST = SPLITS
HELD_OUT_SHARE = 0.3
"""Share of a genre's groups that is held out, half of it for test."""
MINIMUM_FOR_HELD_OUT = 3
"""A genre with this many groups has at least one of them in validation."""
MINIMUM_FOR_TEST = 6
"""A genre with this many groups has at least one of them in test."""
NEAR_DUPLICATE = 1e-3
"""Rows that differ by less than this in every column (in units of the column's spread) are the same recording."""


def unit_hash(text: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(f"{salt}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_splits(groups: Sequence[str], labels: Sequence[str], stated: Sequence[str] = ()) -> list[str]:
    """The split of each row.

    In each genre the groups with the smallest hashes are held out: those below `HELD_OUT_SHARE`, but at least one
    where there are `MINIMUM_FOR_HELD_OUT` groups and never more than about a third. Of these the smallest go to test.
    A group with rows in several genres has one place.

    `stated` are the splits that somebody stated for the rows, empty where nobody did. They count; of several in one group
    (which near-duplicates have joined) the one that is farthest from training.
    """
    members: dict[str, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        members[label].add(group)
    place: dict[str, str] = {}
    for label in sorted(members):
        ranked = sorted(members[label], key=lambda g: (unit_hash(g), g))
        held, test = _sizes([unit_hash(g) for g in ranked])
        for rank, group in enumerate(ranked):
            place.setdefault(group, TEST if rank < test else VALIDATION if rank < held else TRAIN)
    for split in SPLITS:
        place |= {group: split for group, said in zip(groups, stated, strict=bool(stated)) if said == split}
    return [place[group] for group in groups]


def _sizes(hashes: Sequence[float]) -> tuple[int, int]:
    """How many groups of a genre are held out, and how many of these are for test; `hashes` ascend."""
    n = len(hashes)
    least = 1 if n >= MINIMUM_FOR_HELD_OUT else 0
    most = max(least, round(0.35 * n)) if n >= MINIMUM_FOR_HELD_OUT else 0
    held = min(max(sum(h < HELD_OUT_SHARE for h in hashes), least), most)
    if n < MINIMUM_FOR_TEST:
        return held, 0
    held = max(held, 2)
    return held, min(max(sum(h < HELD_OUT_SHARE / 2 for h in hashes), 1), held - 1)


def folds(groups: Sequence[str], labels: NDArray[np.int64], count: int, seed: int) -> list[NDArray[np.int64]]:
    """Grouped, stratified folds of the training rows: for each fold the indices of its held-out rows.

    Each genre's groups are dealt out in hash order, one to a fold in turn, so that every fold has about the same mix.
    `count` is lowered to the largest number of groups that a genre has (two at least).
    Raises `ValueError` when there are fewer than two groups.
    """
    if len(set(groups)) < 2:
        raise ValueError("cross-validation needs at least two groups")
    members: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels.tolist(), strict=True):
        members[label].add(group)
    count = max(2, min(count, max(len(m) for m in members.values())))
    place: dict[str, int] = {}
    dealt = 0
    for label in sorted(members):
        for group in sorted(members[label], key=lambda g: (unit_hash(g, f"fold-{seed}"), g)):
            if group not in place:
                place[group] = dealt % count
                dealt += 1
    fold_of_row = np.array([place[g] for g in groups])
    return [np.flatnonzero(fold_of_row == fold) for fold in range(count) if (fold_of_row == fold).any()]


def near_duplicates(features: NDArray[np.floating[Any]]) -> list[tuple[int, int]]:
    """Pairs of rows (i < j) whose features [n, d] agree within `NEAR_DUPLICATE` of each column's spread.

    Rows are sorted along one fixed direction, on which near-duplicates are neighbours: n log n, not n squared.
    """
    if len(features) < 2:
        return []
    spread = np.subtract(*np.percentile(features, [75, 25], axis=0))
    spread[spread == 0] = 1
    scaled = features / spread
    direction = np.random.default_rng(0).normal(size=scaled.shape[1])
    direction /= np.abs(direction).sum()
    position = scaled @ direction
    order = np.argsort(position, kind="stable")
    return sorted(_close_pairs(scaled[order], position[order], order))


def _close_pairs(
    scaled: NDArray[np.float64], position: NDArray[np.float64], order: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    for shift in range(1, len(order)):
        near = np.flatnonzero(position[shift:] - position[:-shift] <= NEAR_DUPLICATE)
        if not len(near):
            return
        same = np.abs(scaled[near] - scaled[near + shift]).max(axis=1) <= NEAR_DUPLICATE
        for i in near[same]:
            a, b = int(order[i]), int(order[i + shift])
            yield min(a, b), max(a, b)


def merge_groups(groups: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Groups joined where rows of two of them are near-duplicates; a joined group has its first name in order."""
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet(groups)
    for i, j in pairs:
        joined.merge(groups[i], groups[j])
    first = {name: min(names) for names in joined.subsets() for name in names}
    return [first[group] for group in groups]


def leaks(frame: "pd.DataFrame", columns: Sequence[str]) -> list[str]:
    """What stands in more than one split: groups, recordings, fingerprints, near-duplicate rows. Empty if sound."""
    found = []
    for unit in ("group", "recording", "fingerprint"):
        counts = frame.groupby(unit)["split"].nunique()
        found += [f"{unit} {name} is in {n} splits" for name, n in counts[counts > 1].items()]
    split = frame["split"].tolist()
    for i, j in near_duplicates(frame[list(columns)].to_numpy(np.float32)):
        if split[i] != split[j]:
            found.append(
                f"rows {frame['key'].iloc[i]} ({split[i]}) and {frame['key'].iloc[j]} ({split[j]}) are the same"
            )
    return found
