"""Which pairs of recordings become candidates, or cease to be, when some come, go or move: pure, over index entries.

Candidates stand within `NEIGHBOURS` of each other under a key, in the order of their files. So what comes between two
others may part them, and what goes may bring them together; only keys of what changed need to be looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.recordings.fingerprint import NEIGHBOURS, Keys, Numbers

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Entries:
    """Entries under some keys, before and after a change: each array has one value for an entry."""

    keys: Keys
    owners: Numbers  # numbers of recordings
    frames: Numbers
    ranks: Numbers  # of the owner's first file, among all files before and after
    before: Flags
    after: Flags


@dataclass(frozen=True)
class Change:
    """(owner, owner, lag) that are candidates now and were not; owners (a < b) that were and are not, under some key."""

    come: set[tuple[int, int, int]]
    lost: set[tuple[int, int]]


def change(entries: Entries) -> Change:
    """What a change does to the candidates. An owner that moved has entries of both kinds, at both ranks."""
    order = np.lexsort((entries.frames, entries.ranks, entries.keys))
    keys, owners, frames = entries.keys[order], entries.owners[order], entries.frames[order]
    before, after = entries.before[order], entries.after[order]
    come: set[tuple[int, int, int]] = set()
    for first, second in _near(keys, owners, after):
        stood = _within(before, first, second)
        first, second = first[~stood], second[~stood]
        lags = frames[first] - frames[second]
        come |= set(zip(owners[first].tolist(), owners[second].tolist(), lags.tolist(), strict=True))
    lost: set[tuple[int, int]] = set()
    for first, second in _near(keys, owners, before):
        parted = after[first] & after[second] & ~_within(after, first, second)
        pairs = np.sort(np.stack([owners[first[parted]], owners[second[parted]]], axis=1), axis=1)
        lost |= set(map(tuple, pairs.tolist()))
    return Change(come, lost)


def _near(keys: Keys, owners: Numbers, there: Flags) -> "list[tuple[NDArray[np.intp], NDArray[np.intp]]]":
    """Places of entries of two owners within `NEIGHBOURS` of each other under a key, among those that are there."""
    at = np.flatnonzero(there)
    found = []
    for distance in range(1, NEIGHBOURS + 1):
        first, second = at[:-distance], at[distance:]
        same = (keys[first] == keys[second]) & (owners[first] != owners[second])
        found.append((first[same], second[same]))
    return found


def _within(there: Flags, first: NDArray[np.intp], second: NDArray[np.intp]) -> Flags:
    """Whether both are there, with fewer than `NEIGHBOURS` between them that are."""
    count = np.cumsum(there)
    near: Flags = there[first] & there[second] & (count[second] - count[first] <= NEIGHBOURS)
    return near
