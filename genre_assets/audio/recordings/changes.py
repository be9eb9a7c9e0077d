"""Taking a change of files into the index of recordings, so that its pairs stay those of all signatures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genre_assets.audio.recordings import neighbours
from genre_assets.audio.recordings.fingerprint import Keys, Numbers, Words, is_same, keys_of, near, same_pairs, words_of
from genre_assets.audio.recordings.index_rows import File, IndexRows, Recording

Pair = tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """What changed among the files of a label: keys that go (or change), their content hashes, and files that come."""

    label: str
    gone: tuple[str, ...]
    fingerprints: tuple[str, ...]
    come: tuple[File, ...]

    @property
    def size(self) -> int:
        """How many files it is about."""
        return len({*self.gone, *(file.key for file in self.come)})


def difference(label: str, stored: Mapping[str, tuple[str, str]], files: Sequence[File]) -> Difference:
    """Between the files of a label in the index (key -> fingerprint, recording) and those there are."""
    now = {file.key: (file.fingerprint, file.recording) for file in files}
    gone = [key for key, facts in stored.items() if now.get(key) != facts]
    come = [file for file in files if stored.get(file.key) != now[file.key]]
    return Difference(label, tuple(gone), tuple(stored[key][0] for key in gone), tuple(come))


@dataclass(frozen=True)
class _Taken:
    """What became of the recordings whose files changed; each was or is told by its first file."""

    gone: Sequence[Recording]
    new: Sequence[Recording]
    moved: Sequence[tuple[Recording, Recording]]  # its first file is another, or sounds otherwise: before, after
    same: Sequence[Recording]

    @property
    def before(self) -> list[Recording]:
        return [*self.gone, *(before for before, _ in self.moved)]

    @property
    def after(self) -> list[Recording]:
        return [*self.new, *(after for _, after in self.moved)]

    @property
    def standing(self) -> set[int]:
        return {one.number for one in (*self.after, *self.same)}

    def bands_gone(self) -> dict[int, bytes]:
        resounding = [before for before, after in self.moved if before.first.signature != after.first.signature]
        return _signatures([*self.gone, *resounding])

    def bands_come(self) -> dict[int, bytes]:
        resounding = [after for before, after in self.moved if before.first.signature != after.first.signature]
        return _signatures([*self.new, *resounding])


def take(rows: IndexRows, change: Difference) -> None:
    """Take in a change of many files, leaving the pairs to `pair_all`."""
    taken = _take(rows, [change])
    _replace_bands(rows, taken)


def pair_all(rows: IndexRows) -> None:
    """Find all pairs anew; everything is due."""
    every = rows.numbered()
    pairs = same_pairs([one.first.signature for one in every])
    rows.remove_all_pairs()
    rows.add_pairs({_pair(every[i].number, every[j].number) for i, j in pairs})
    rows.set_due(None, True)


def follow(rows: IndexRows, differences: Sequence[Difference]) -> None:
    """Take in a change of some files, and what it does to the pairs; what it touches is due."""
    taken = _take(rows, differences)
    candidates = neighbours.change(_entries(rows, taken))
    _replace_bands(rows, taken)
    touched = {one.number for one in (*taken.before, *taken.after)}
    broken = rows.pairs_of(touched) | _parted(rows, candidates.lost)
    rows.remove_pairs(broken)
    come = _same(candidates.come, _words(rows, {number for i, j, _ in candidates.come for number in (i, j)}))
    rows.add_pairs(come)
    rows.set_due(taken.standing | {number for pair in broken | come for number in pair}, True)


def _take(rows: IndexRows, differences: Sequence[Difference]) -> _Taken:
    names = {name for one in differences for name in (*one.fingerprints, *(file.fingerprint for file in one.come))}
    before = rows.recordings(names)
    for one in differences:
        rows.replace_files(one.label, one.gone, one.come)
    after = rows.firsts(names)
    numbers = {name: known.number for name, known in before.items()}
    numbers |= rows.add([file for name, file in after.items() if name not in before])
    now = {name: Recording(numbers[name], file) for name, file in after.items()}
    both = [(before[name], now[name]) for name in before.keys() & now.keys()]
    moved = [(old, new) for old, new in both if old.first != new.first]
    gone = [known for name, known in before.items() if name not in now]
    rows.move({new.number: new.first for _, new in moved})
    rows.remove([known.number for known in gone])
    new = [one for name, one in now.items() if name not in before]
    return _Taken(gone, new, moved, [one for old, one in both if old.first == one.first])


def _replace_bands(rows: IndexRows, taken: _Taken) -> None:
    rows.remove_bands(taken.bands_gone())
    rows.add_bands(taken.bands_come())


def _entries(rows: IndexRows, taken: _Taken) -> neighbours.Entries:
    """What stands under the keys of what changed. The bands in the index are those of before."""
    old, new = [_own(known) for known in taken.before], [_own(known) for known in taken.after]
    keys, owners, frames = rows.entries(np.concatenate([np.zeros(0, np.uint32), *(own[0] for own in (*old, *new))]))
    others = ~np.isin(owners, [one.number for one in (*taken.before, *taken.after)])
    keys, owners, frames = keys[others], owners[others], frames[others]
    places = rows.places(np.unique(owners).tolist())
    order = sorted({*places.values(), *(one.first.place for one in (*taken.before, *taken.after))})
    rank = {place: number for number, place in enumerate(order)}
    ranks = [_look_up(owners, {number: rank[place] for number, place in places.items()})]
    for known, (own, _, _) in zip((*taken.before, *taken.after), (*old, *new), strict=True):
        ranks.append(np.full(len(own), rank[known.first.place], np.int32))
    counts = len(keys), sum(len(own[0]) for own in old), sum(len(own[0]) for own in new)
    return neighbours.Entries(
        keys=np.concatenate([keys, *(own[0] for own in (*old, *new))]),
        owners=np.concatenate([owners, *(own[1] for own in (*old, *new))]),
        frames=np.concatenate([frames, *(own[2] for own in (*old, *new))]),
        ranks=np.concatenate(ranks),
        before=np.repeat([True, True, False], counts),
        after=np.repeat([True, False, True], counts),
    )


def _own(known: Recording) -> tuple[Keys, Numbers, Numbers]:
    keys, frames = keys_of(words_of(known.first.signature))
    return keys, np.full(len(keys), known.number, np.int32), frames


def _look_up(numbers: Numbers, values: Mapping[int, int]) -> Numbers:
    """The value of each number."""
    known = np.array(sorted(values), np.int32)
    found = np.array([values[number] for number in known.tolist()], np.int32)
    looked_up: Numbers = found[np.searchsorted(known, numbers)] if len(known) else np.zeros(0, np.int32)
    return looked_up


def _parted(rows: IndexRows, lost: set[Pair]) -> set[Pair]:
    """Those of the pairs that are no candidates any more, under any key, at any lag at which they are the same."""
    return {
        pair for pair in rows.pairs_of({number for pair in lost for number in pair}) & lost if not _are_pair(rows, pair)
    }


def _are_pair(rows: IndexRows, pair: Pair) -> bool:
    words = _words(rows, set(pair))
    one, other = (keys_of(words[number])[0] for number in pair)
    shared = np.intersect1d(one, other)
    keys, owners, frames = rows.entries(shared)
    places = rows.places(np.unique(owners).tolist())
    rank = {number: at for at, number in enumerate(sorted(places, key=places.__getitem__))}
    order = np.lexsort((frames, _look_up(owners, rank), keys))
    found = {(i, j, lag) for i, j, lag in near(keys[order], owners[order], frames[order]) if _pair(i, j) == pair}
    return bool(_same(found, words))


def _same(candidates: set[tuple[int, int, int]], words: Mapping[int, Words]) -> set[Pair]:
    found: set[Pair] = set()
    for i, j, lag in candidates:
        pair = _pair(i, j)
        if pair not in found and is_same(words[i], words[j], lag):
            found.add(pair)
    return found


def _words(rows: IndexRows, numbers: set[int]) -> dict[int, Words]:
    return {one.number: words_of(one.first.signature) for one in rows.numbered(numbers)}


def _signatures(known: Sequence[Recording]) -> dict[int, bytes]:
    return {one.number: one.first.signature for one in known}


def _pair(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)
